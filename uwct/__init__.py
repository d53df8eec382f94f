"""Universal style transfer by whitening and coloring transforms (Li et al., NIPS 2017), as pure functions in JAX."""

from uwct.model import load
from uwct.statistics import merge, moments
from uwct.styles import load_style, save_style
from uwct.transfer import encode_style, stylize, synthesize
from uwct.transforms import adain, color, monge, wct, whiten

__all__ = [
    "adain",
    "color",
    "encode_style",
    "load",
    "load_style",
    "merge",
    "moments",
    "monge",
    "save_style",
    "stylize",
    "synthesize",
    "wct",
    "whiten",
]
