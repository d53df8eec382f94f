"""The options of `uwct stylize`, and which of them go together."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from uwct.cli.limits import MEGAPIXELS, MaxMegapixels, check_size
from uwct.cli.look import Look
from uwct.cli.networks import Networks
from uwct.cli.refining import Refining
from uwct.cli.regions import Regions
from uwct.cli.saving import Saving
from uwct.cli.styles import Styles
from uwct.files import is_style

File = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    look: Annotated[Look, tyro.conf.arg(name="")]
    styles: Annotated[Styles, tyro.conf.arg(name="")]
    regions: Annotated[Regions, tyro.conf.arg(name="")]
    refining: Annotated[Refining, tyro.conf.arg(name="")]
    saving: Annotated[Saving, tyro.conf.arg(name="")]
    networks: Annotated[Networks, tyro.conf.arg(name="")]
    content: File = None
    """The photo, or a folder of photos that are all treated alike: JPEG, PNG, WebP, TIFF, GIF, AVIF, HEIC and
    others; - reads a photo from standard input."""
    output: File = None
    """The picture to write, a .png, .jpg, .webp or .tif file, or an existing folder to write it into; by default it is
    named after content and style. A folder as --content or --style needs a folder here; - writes PNG to standard
    output."""
    keep_colors: Annotated[Literal["luminance", "matched"] | None, tyro.conf.arg(metavar="{luminance,matched}")] = None
    """Keep the photo's colors, in one of the two ways of Gatys et al. (2016): "luminance" takes only light and dark
    from the stylized picture; "matched" gives the style the photo's colors first, so that strokes stay colored."""
    patches: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """At the deepest level, take patches of the style picture itself, each the most similar one, instead of its
    statistics: its shapes come along (style swap; Chen and Schmidt 2016)."""
    size: int = 0
    """Long side of the output in pixels; 0 keeps the photo's size."""
    tile: Annotated[str, tyro.conf.arg(metavar="{auto,off}|PIXELS")] = "auto"
    """Pictures that do not fit in memory are done in overlapping windows of this many pixels a side, with the same
    result; "auto" does so when it must, a number always, "off" never. Levels see beyond their windows, so need some
    size: level 3 52 pixels, level 4 136, level 5 272 (vgg19: 336)."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With a folder of photos or styles: leave out what an earlier run, of the same files, options and versions, has
    finished, as manifest.jsonl in the folder of outputs says."""
    steps: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also write what each level made, beside the output: name.level4.png and so on; with --refine also what every
    tenth of its steps did: name.refined10.png and so on."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a line of JSON for each picture instead of a sentence."""
    compat: Annotated[Literal["floor", "ceil"] | None, tyro.conf.arg(metavar="{floor,ceil}")] = None
    """Compute as the projects do whose weights `uwct convert` takes, to compare with their pictures: WCT without
    shrinkage, one alpha for all levels, statistics in float64, and pooling that drops odd rows and columns ("floor", as
    Collaborative Distillation does) or keeps them ("ceil", as the authors do), so that the size may change a little.
    The style keeps its size unless --style-size is given."""
    compat_divisor: Literal["n-1", "n"] = "n-1"
    """What --compat divides covariances by, n being the number of pixels."""

    @property
    def takes_folders(self) -> bool:
        """Whether the photos or the styles are those of a folder."""
        return any(path.is_dir() for path in (self.content, *self.styles.paths) if path is not None)

    @property
    def others(self) -> list[Path]:
        """The files that are named beside content and styles."""
        named = self.regions.files
        return [*self.styles.style_mask, *(file for files in named for file in (files.mask, *files.styles))]

    def check(self) -> None:
        """Raises ValueError for options that do not go together."""
        look, styles = self.look.resolve(), self.styles.paths
        if self.content is None:
            raise ValueError("--content needs a photo; uwct texture makes pictures without one")
        if not styles and not self.regions.region and look.transform != "whiten":
            raise ValueError("--style needs at least one picture")
        self.styles.check(len(look.levels))
        self.regions.check(bool(styles))
        self.refining.check(look.transform)
        self.saving.check()
        check_size("--size", self.size)
        if self.resume and not self.takes_folders:
            raise ValueError("--resume needs a folder as --content or --style")
        if str(self.output) == "-":
            if self.steps:
                raise ValueError("--steps writes further files beside the output; name a file as --output")
            if self.json:
                raise ValueError("--json would be mixed with the picture on standard output; name a file as --output")
        if self.patches:
            self.check_patches()
        if self.compat:
            self.check_compat()

    def check_patches(self) -> None:
        """Raises ValueError where there is not one style picture that patches can be taken of, or no whole photo."""
        styles = self.styles.paths
        if len(styles) != 1 or is_style(styles[0]) or self.styles.style_mask:
            raise ValueError("--patches takes one style picture, without --style-mask")
        if self.tile.isdecimal():
            raise ValueError("--patches compares the whole photo with the style, so needs it whole; leave --tile out")

    def check_compat(self) -> None:
        """Raises ValueError for what other projects do not do."""
        own = {
            "--region": self.regions.region,
            "--style-mask": self.styles.style_mask,
            "--keep-colors": self.keep_colors,
            "--photo": self.look.photo,
            "--patches": self.patches,
            "--refine": self.refining.steps,
            "--steps": self.steps,
            "--tile": self.tile.isdecimal(),
        }
        for option, given in own.items():
            if given:
                raise ValueError(f"--compat computes as other projects do, which have no {option}")
        if len(self.styles.paths) > 1:
            raise ValueError("--compat takes one content and one style")
        look = self.look
        if look.transform not in (None, "wct") or look.shrinkage or self.networks.dtype not in ("auto", "float32"):
            raise ValueError("--compat computes WCT without shrinkage in float32; leave those options out")
        if len(set(look.resolve().alpha)) > 1:
            raise ValueError("--compat takes one --alpha for all levels")
