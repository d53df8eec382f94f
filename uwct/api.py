"""What programs use, as `uwct.NAME`: the package itself imports it when it is first asked for a name."""

from uwct.datasets.stylizer import Stylizer
from uwct.networks.model import backbone, load
from uwct.pipeline.augment import augment
from uwct.pipeline.colors import keep_chroma, match_colors
from uwct.pipeline.frames import stylize_frames
from uwct.pipeline.parts import Region, between
from uwct.pipeline.photo import stylize_photo
from uwct.pipeline.refine import refine, with_manners
from uwct.pipeline.style_files import load_style, save_style
from uwct.pipeline.styles import encode_style, mix_styles
from uwct.pipeline.textures import synthesize
from uwct.pipeline.whole import stylize
from uwct.transforms.matching import adain, color, monge, wct, whiten
from uwct.transforms.statistics import merge, moments

__all__ = [
    "Region",
    "Stylizer",
    "adain",
    "augment",
    "backbone",
    "between",
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
    "refine",
    "save_style",
    "stylize",
    "stylize_frames",
    "stylize_photo",
    "synthesize",
    "wct",
    "whiten",
    "with_manners",
]
