"""--region and --style-mask: masks, and the styles of parts of a picture, from the command line."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

from uwct.cli.sizes import read
from uwct.colors import LUMA
from uwct.model import Model
from uwct.presets import TRANSFORMS, Preset
from uwct.regions import Region, stylize_regions
from uwct.transfer import Style

# How far, of 255, a pixel of a label picture may be from its color: JPEG does not keep colors exactly.
NEAR = 32


@dataclasses.dataclass(frozen=True)
class RegionFiles:
    """What one --region names: a mask, or one color of a label picture, and its styles with their weights."""

    mask: Path
    color: str
    styles: tuple[Path, ...]
    weights: tuple[float, ...]


def parse(words: Sequence[str]) -> RegionFiles:
    """The words of one --region: MASK[:RRGGBB] [STYLE[:WEIGHT] ...]. Raises ValueError for others."""
    if not words:
        raise ValueError("--region needs a mask")
    mask, color = _split(words[0], r"[0-9a-fA-F]{6}")
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
    """A mask `[H, W]` in [0, 1] from a picture, resized to the shape: white is 1; or what is near a color, RRGGBB."""
    picture = read(path)
    if color:
        wanted = np.array([int(color[i : i + 2], 16) for i in (0, 2, 4)])
        mask = (np.abs(255 * picture.rgb - wanted) <= NEAR).all(-1).astype(np.float32)
    else:
        mask = picture.rgb @ np.array(LUMA, np.float32)
    # Bilinear, since Lanczos would ring beside an edge and leave a little of the style there.
    return np.clip(np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.BILINEAR)), 0, 1)


def read_style_mask(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """`read_mask` for a style picture; raises ValueError for one that leaves nothing of it."""
    mask = read_mask(path, shape)
    if mask.sum() < 1:
        raise ValueError(f"the mask {path} leaves nothing of the style")
    return mask


def check_factors(factors: Sequence[float], regions: int) -> None:
    """Raises ValueError unless --region-alpha fits the regions."""
    if factors and len(factors) != regions:
        raise ValueError(f"{regions} --region need as many numbers of --region-alpha, not {len(factors)}")
    for factor in factors:
        if not 0 <= factor <= 1:
            raise ValueError(f"--region-alpha must lie between 0 and 1, not {factor:g}")


def paint_regions(
    model: Model,
    photo: Array,
    named: Sequence[tuple[RegionFiles, list[Style]]],
    rest: Region,
    factors: Sequence[float],
    look: Preset,
) -> Array:
    """A photo `[H, W, 3]` with each named region in its styles and the rest in its own; `factors` of the alphas."""
    regions = [rest.replace(alpha=look.alpha)]
    for (files, styles), factor in zip(named, factors or [1.0] * len(named), strict=True):
        mask = read_mask(files.mask, (photo.shape[0], photo.shape[1]), files.color)
        alpha = [factor * alpha for alpha in look.alpha]
        regions.append(Region(jnp.asarray(mask), styles, files.weights if styles else None, alpha))
    return stylize_regions(
        model, photo, regions, look.levels, transform=TRANSFORMS[look.transform], shrinkage=look.shrinkage
    )
