"""Masks, and the options that give parts of a picture styles of their own."""

import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image

from uwct.cli.look import NUMBERS
from uwct.cli.sizes import read
from uwct.pictures import images
from uwct.pipeline.colors import LUMA

# How far apart, of 255, the colors of a label picture must lie in a format that does not keep them exactly.
NEAR = 32
MOST_FREQUENT = 1000  # colors of such a picture, among which its labels are looked for
FAINT = 8 / 255  # a mask of nothing lighter is a mistake


@dataclasses.dataclass(frozen=True)
class RegionFiles:
    """What one --region names: a mask, or one color of a label picture, and its styles with their weights."""

    mask: Path
    color: str
    styles: tuple[Path, ...]
    weights: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Regions:
    """Parts of a picture; the words under each field are its help."""

    region: Annotated[
        tuple[tuple[str, ...], ...],
        tyro.conf.UseAppendAction,
        tyro.conf.arg(metavar="MASK[:COLOR] [STYLE[:WEIGHT] ...]"),
    ] = ()
    """A part of the photo that takes on styles of its own; may be given several times. MASK is a grey picture, white
    where the part is (soft edges are fine; transparent is not the part), or a picture of which MASK:RRGGBB takes one
    color, or MASK:#3 number 3 of its palette; it is resized to the photo. Its styles are pictures or style files, mixed
    with WEIGHTs; without any, the part keeps its pixels. What no mask covers takes --style, or keeps its pixels if
    there is none. Masks that overlap are divided by their sum."""
    region_alpha: Annotated[tuple[float, ...], tyro.conf.arg(metavar=NUMBERS)] = ()
    """One number a --region, from 0 to 1, by which the strength of all levels is multiplied there; 1 by default."""

    @property
    def files(self) -> list[RegionFiles]:
        """What every --region names."""
        return [parse(words) for words in self.region]

    @property
    def factors(self) -> tuple[float, ...]:
        """What the strengths of each are multiplied by."""
        return self.region_alpha or (1.0,) * len(self.region)

    def check(self, has_style: bool) -> None:
        """Raises ValueError for regions that are misspelt, or of which nothing follows."""
        if self.region_alpha and not self.region:
            raise ValueError("--region-alpha needs a --region")
        if self.region and not has_style and not any(files.styles for files in self.files):
            raise ValueError("no --region has a style, nor is there a --style")
        if self.region_alpha and len(self.region_alpha) != len(self.region):
            raise ValueError(
                f"{len(self.region)} --region need as many numbers of --region-alpha, not {len(self.region_alpha)}"
            )
        for factor in self.region_alpha:
            if not 0 <= factor <= 1:
                raise ValueError(f"--region-alpha must lie between 0 and 1, not {factor:g}")


def parse(words: Sequence[str]) -> RegionFiles:
    """The words of one --region: MASK[:COLOR] [STYLE[:WEIGHT] ...]. Raises ValueError for others."""
    if not words:
        raise ValueError("--region needs a mask")
    mask, color = _split(words[0], r"[0-9a-fA-F]{6}|#\d{1,3}")
    styles = [_split(word, r"\d+\.?\d*|\.\d+") for word in words[1:]]
    weights = tuple(float(weight or 1) for _, weight in styles)
    if styles and not 0 < sum(weights) < np.inf:
        raise ValueError(f"the weights of {' '.join(words)} must not all be 0")
    return RegionFiles(mask, color, tuple(path for path, _ in styles), weights)


def _split(word: str, ending: str) -> tuple[Path, str]:
    """A path, and what follows its last colon if that is of the pattern `ending`."""
    found = re.fullmatch(rf"(.+):({ending})", word)
    return (Path(found[1]), found[2]) if found and not Path(word).exists() else (Path(word), "")


def read_mask(path: Path, shape: tuple[int, int], color: str = "") -> np.ndarray:
    """A mask `[H, W]` in [0, 1] from a picture, resized to the shape.

    White is 1, transparent 0; or, with a color, RRGGBB or #N of the palette, all that has it. Raises ValueError for a
    color that does not occur, and for a mask of nearly nothing.
    """
    if color and path == images.STANDARD:  # which can be read only once, and has no name that tells its format
        raise ValueError("a color of a mask cannot be taken from standard input: save the mask to a file")
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
