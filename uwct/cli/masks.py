"""Masks, read from pictures."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from uwct.cli.sizes import read
from uwct.pictures import images
from uwct.pipeline.colors import LUMA

# How far apart, of 255, the colors of a label picture must lie in a format that does not keep them exactly.
NEAR = 32
MOST_FREQUENT = 1000  # colors of such a picture, among which its labels are looked for
FAINT = 8 / 255  # a mask of nothing lighter is a mistake


def read_mask(path: Path, shape: tuple[int, int], color: str = "") -> np.ndarray:
    """A mask `[H, W]` in [0, 1] from a picture, resized to the shape.

    White is 1, transparent 0; or, with a color, RRGGBB or #N of the palette, all that has it. Raises ValueError for a
    color that does not occur, and for a mask of nearly nothing.
    """
    if color.startswith("#"):
        mask = (images.palette_indices(path) == int(color[1:])).astype(np.float32)
    else:
        picture = read(path)
        mask = _of_color(path, picture.rgb, color) if color else _of_light(path, picture.rgb)
        mask = mask if picture.alpha is None else mask * picture.alpha
    if color and not mask.any():
        raise ValueError(f"no pixel of the mask {path} has the color {color}")
    return resized(mask, shape)


def _of_light(path: Path, rgb: np.ndarray) -> np.ndarray:
    """How light each pixel is; a mask of two values, as 0 and 1 of 255, is taken for black and white."""
    mask = np.asarray(rgb @ np.array(LUMA, np.float32))
    lightest = mask.max()
    if 0 < lightest <= FAINT:
        if len(np.unique(mask)) > 2:
            raise ValueError(
                f"the mask {path} is nearly black everywhere: white is 255, and it has {255 * lightest:g} at most; "
                "of a picture of labels, name a color (MASK:RRGGBB)"
            )
        lighter = f"the lighter of the two values of the mask {path}, {255 * lightest:.2g} of 255"
        print(f"{lighter}, is taken for white", file=sys.stderr)
        mask = (mask > lightest / 2).astype(np.float32)
    return mask


def _of_color(path: Path, rgb: np.ndarray, color: str) -> np.ndarray:
    """1 where a pixel has a color; in a lossy format, where that is the nearest of those that occur."""
    wanted, code = _parts(np.array([int(color, 16)]))[0], np.array([2**16, 2**8, 1])
    codes = np.rint(255 * rgb).astype(int) @ code
    if images.is_lossless(path):
        return (codes == int(color, 16)).astype(np.float32)
    found, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    labels = [wanted]
    for candidate in _parts(found[np.argsort(-counts, kind="stable")][:MOST_FREQUENT]):
        if np.abs(np.stack(labels) - candidate).max(-1).min() > NEAR:
            labels.append(candidate)
    colors = _parts(found)
    distances = np.stack([np.square(colors - label).sum(-1) for label in labels])
    nearest = (distances.argmin(0) == 0) & (np.abs(colors - wanted).max(-1) <= NEAR)
    return np.asarray(nearest[inverse].reshape(codes.shape), np.float32)


def _parts(codes: np.ndarray) -> np.ndarray:
    """Red, green and blue, `[N, 3]`, of colors as numbers 0xRRGGBB."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)


def resized(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask at another (height, width); bilinear, since Lanczos rings beside an edge, which leaves style there."""
    image = Image.fromarray(mask.astype(np.float32)).resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.clip(np.asarray(image), 0, 1)


def read_style_mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """`read_mask` for a style picture; raises ValueError for one that leaves nothing of it."""
    mask = read_mask(path, shape)
    if mask.sum() < 1:
        raise ValueError(f"the mask {path} leaves nothing of the style")
    return mask
