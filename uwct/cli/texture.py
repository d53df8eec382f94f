"""`uwct texture`: pictures out of noise, in one style, between styles, or on the way from one to another."""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from uwct.cli.cache import start_quickly
from uwct.cli.encoding import encode_files
from uwct.cli.errors import fail_partly, one_sentence
from uwct.cli.jobs import Report, record, run
from uwct.cli.limits import LARGEST, MEGAPIXELS, MaxMegapixels, check_size, pixel_limit
from uwct.cli.look import Look
from uwct.cli.manifest import Manifest, how
from uwct.cli.networks import Networks
from uwct.cli.parsing import parsed
from uwct.cli.plan import Job, beside, plan
from uwct.cli.refining import Refining
from uwct.cli.sizes import check_memory
from uwct.cli.styles import Styles
from uwct.cli.watching import observer, watched
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pictures.spaces import srgb
from uwct.pipeline.parts import Wanted, between, resolve
from uwct.pipeline.presets import Preset
from uwct.pipeline.refine import refinements
from uwct.pipeline.styles import Style
from uwct.pipeline.textures import synthesize
from uwct.transforms.matching import TRANSFORMS

HELP = """Make a texture of a style out of random noise, without any photo.

The same seed gives the same texture. Textures can be seamless, so that their copies fit together like tiles; change
from style to style across the picture; or come as a sequence, from the first of several styles to the last. --photo,
which keeps the details of a photo, is refused here.

Examples:
  uwct texture --style examples/styles/mosaic.jpg --size 256 --seed 1 --output mosaic.png
  uwct texture --seamless --style examples/styles/mosaic.jpg --size 128 --output tile.jpg"""

MOST_FRAMES = 1000  # so that their numbers have three digits
PASSES = 3  # of all levels over the noise


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    look: Annotated[Look, tyro.conf.arg(name="")]
    styles: Annotated[Styles, tyro.conf.arg(name="")]
    refining: Annotated[Refining, tyro.conf.arg(name="")]
    networks: Annotated[Networks, tyro.conf.arg(name="")]
    output: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """The picture to write, a .png, .jpg, .webp or .tif file, or an existing folder to write it into; by default it is
    named after the style. A folder as --style needs a folder here; - writes PNG to standard output."""
    size: int = 512
    """Both sides of the texture in pixels."""
    shape: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="WIDTH HEIGHT")] = None
    """Width and height in pixels of a texture that is no square."""
    seed: int = 0
    """The seed of the noise."""
    seamless: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Make copies of the texture fit together without seams, above and beside each other; its sides must be multiples
    of 16 (with level 5; of 8 with level 4, and so on)."""
    gradient: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Change from one of two styles at the left to the other at the right, or between four styles in the corners."""
    frames: int = 0
    """Make so many textures out of the same noise, from the first style over those between to the last, as numbered
    files: name.000.png and so on."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With a folder of styles: leave out what an earlier run, of the same files, options and versions, has finished, as
    manifest.jsonl in the folder of outputs says."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a line of JSON for each picture instead of a sentence."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Style pictures of more million pixels are refused before they are decoded: a small file can claim any size."""

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        width, height = self.shape or (self.size, self.size)
        return height, width

    @property
    def takes_folder(self) -> bool:
        """Whether the styles are those of a folder."""
        return any(path.is_dir() for path in self.styles.paths)

    def check(self) -> None:
        """Raises ValueError for options that do not go together."""
        look, paths = self.look.resolve(), self.styles.paths
        if not paths:
            raise ValueError("--style needs at least one picture")
        if self.look.photo:
            raise ValueError("--photo keeps a photo's details, and a texture has no photo")
        self.styles.check(len(look.levels))
        self.refining.check(look.transform)
        check_size("--size", self.size)
        if not self.size:
            raise ValueError("--size must be at least 1")
        for side in self.shape or (1,):
            if not 1 <= side <= LARGEST:
                raise ValueError(f"--shape must be two numbers from 1 to 2^31, not {side}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must lie between 0 and 2^32, not {self.seed}")
        if self.resume and not self.takes_folder:
            raise ValueError("--resume needs a folder as --style")
        pictures = 0 if self.takes_folder else len(paths)
        if self.gradient and (pictures not in (2, 4) or self.styles.style_weights):
            raise ValueError("--gradient takes two or four styles, without --style-weights")
        if self.gradient and self.seamless:
            raise ValueError("--gradient and --seamless do not go together: opposite borders have different styles")
        if self.frames and not 2 <= self.frames <= MOST_FRAMES:
            raise ValueError(f"--frames must lie between 2 and {MOST_FRAMES}, not {self.frames}")
        if self.frames and (pictures < 2 or self.styles.style_weights or self.gradient):
            raise ValueError("--frames takes two styles or more, without --style-weights and --gradient")
        if str(self.output) == "-" and self.frames:
            raise ValueError("--frames writes several files; name one as --output")
        if str(self.output) == "-" and self.json:
            raise ValueError("--json would be mixed with the picture on standard output; name a file as --output")


def main(argv: list[str] | None = None, prog: str = "uwct texture") -> None:
    """Makes textures, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    start_quickly()
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        arguments.check()
        look = arguments.look.resolve()
        further = [f"{number:03d}" for number in range(arguments.frames)]
        jobs = plan(None, arguments.styles.paths, arguments.output, arguments.styles.style_mask, further)
        model = arguments.networks.load(look.levels)
        vgg = observer(arguments.refining, model.dtype)
        check_memory("a texture", "--size", *arguments.sides, model.config)
        failures = run(
            jobs,
            lambda paths: encode_files(arguments.styles, paths, model, look.style_size, vgg=vgg, levels=look.levels),
            partial(paint, arguments, look, model, vgg),
            partial(tell, arguments, look),
            Manifest(jobs[0].output.parent, how(arguments, arguments.styles.style_mask))
            if arguments.takes_folder
            else None,
            arguments.resume,
        )
    fail_partly(failures)


def paint(arguments: Arguments, look: Preset, model: Model, vgg: Model | None, styles: list[Style], job: Job) -> Report:
    """Writes a texture of the styles, or those of a way from style to style."""
    sides, output = arguments.sides, job.output
    how: dict[str, Any] = {"transform": TRANSFORMS[look.transform], "shrinkage": look.shrinkage, "passes": PASSES}
    how["padding"] = "wrap" if arguments.seamless else "reflect"

    def write(path: Path, wanted: Wanted, weights: Sequence[Any] | None) -> None:
        key = jax.random.key(arguments.seed)
        texture = synthesize(model, wanted, sides, key, look.levels, look.alpha, weights=weights, **how)
        complete = True
        if vgg:
            parts = resolve(model, wanted, look.levels, look.alpha, weights)
            steps = refinements(
                vgg, texture, None, parts, look.levels, arguments.refining.steps, padding=how["padding"]
            )
            found, complete = watched(steps, "refining")
            texture = found()
        images.write(path, images.Picture(np.asarray(texture), icc_profile=srgb()))
        if not complete:
            print(f"{path} is refined in part", file=sys.stderr)
            raise KeyboardInterrupt

    size, written = f"{sides[1]}x{sides[0]}", str(output)
    if arguments.gradient:
        write(output, between(styles, *sides), None)
    elif arguments.frames:
        names = [beside(output, f"{number:03d}") for number in range(arguments.frames)]
        for name, weights in zip(names, way(len(styles), arguments.frames), strict=True):
            write(name, styles, list(weights))
        written = f"{names[0]} to {names[-1]}"
    else:
        write(output, styles, arguments.styles.mixtures())
    return Report(size, size, written)


def way(styles: int, frames: int) -> np.ndarray:
    """Weights `[frames, styles]` that go from the first style to the last, at an even pace."""
    at = np.linspace(0, styles - 1, frames)[:, None]
    return np.clip(1 - np.abs(at - np.arange(styles)), 0, 1)


def tell(arguments: Arguments, look: Preset, job: Job, report: Report, seconds: float) -> str:
    """One line about a texture that is done."""
    if arguments.json:
        return record(job, report, seconds, **dataclasses.asdict(look), model=arguments.networks.model)
    levels = " ".join(f"{level}:{alpha:g}" for level, alpha in zip(look.levels, look.alpha, strict=True))
    styles = " + ".join(path.name for path in job.styles)
    return (
        f"a texture in the manner of {styles} -> {report.written} ({report.after}): "
        f"model {arguments.networks.model}, {look.transform} at levels {levels}, {seconds:.1f} s"
    )
