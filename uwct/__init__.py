"""Universal style transfer by whitening and coloring transforms (Li et al., NIPS 2017), as pure functions in JAX."""

from uwct.augment import augment
from uwct.colors import keep_chroma, match_colors
from uwct.model import load
from uwct.regions import Region, stylize_regions, synthesize_between
from uwct.statistics import merge, moments
from uwct.styles import load_style, mix_styles, save_style
from uwct.swap import stylize_by_patches
from uwct.transfer import encode_style, stylize, synthesize
from uwct.transforms import adain, color, monge, wct, whiten

__all__ = [
    "Region",
    "adain",
    "augment",
    "color",
    "encode_style",
    "keep_chroma",
    "load",
    "load_style",
    "match_colors",
    "merge",
    "mix_styles",
    "moments",
    "monge",
    "save_style",
    "stylize",
    "stylize_by_patches",
    "stylize_regions",
    "synthesize",
    "synthesize_between",
    "wct",
    "whiten",
]
