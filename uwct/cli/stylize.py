"""`python stylize.py`, also installed as `uwct stylize`."""

import dataclasses
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import tyro

from uwct.cli.cache import start_quickly
from uwct.cli.errors import fail_partly, one_sentence
from uwct.cli.jobs import Report, record, run
from uwct.cli.manifest import Manifest, how
from uwct.cli.masks import RegionFiles
from uwct.cli.options import Arguments
from uwct.cli.plan import Job, beside, plan
from uwct.cli.refining import shown_after
from uwct.cli.sheet import After, Sheet, laid_out
from uwct.cli.sizes import check_tile, pixel_limit, sized
from uwct.cli.styles import encode_file, plain_style, read_style
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pictures.spaces import own_space
from uwct.pipeline import compat
from uwct.pipeline.colors import match_colors
from uwct.pipeline.level import Settings
from uwct.pipeline.parts import Parts, Region, resolve
from uwct.pipeline.presets import TRANSFORMS, Preset
from uwct.pipeline.styles import Style
from uwct.transforms.statistics import Moments

HELP = """Paint a photo in the manner of any picture.

The method, WCT (whitening and coloring transform), looks at both pictures through a pretrained image network. It
removes from the photo's features the mean and the correlations that make up its look (whitening), puts those of the
style picture in their place (coloring), and turns the features back into a picture. It can do so at five levels of the
network, from coarse (5: strokes and composition) to fine (1: colors). Nothing is trained per style. The presets use a
gentler relative of it (--transform monge, --shrinkage); --transform wct --shrinkage 0 is the method itself.

Examples:
  python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --output out.png
  python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --preset gentle --size 256
  python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --levels 4 --size 256"""


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The styles that pictures take on: those of the whole picture, or of what no mask covers, and those of regions."""

    styles: list[Style]
    regions: list[tuple[RegionFiles, list[Style]]]


def main(argv: list[str] | None = None, prog: str = "stylize.py") -> None:
    """Stylizes, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    start_quickly()
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        arguments.check()
        look = arguments.look.resolve()
        further = [f"level{level}" for level in look.levels] if arguments.steps else []
        further += [f"refined{number}" for number in shown_after(arguments.refining.steps) if arguments.steps]
        jobs = plan(arguments.content, arguments.styles.paths, arguments.output, arguments.others, further)
        model = arguments.networks.load(look.levels)
        vgg = arguments.refining.load(model.dtype)
        check_tile(arguments.tile, model.config)
        manifest = (
            Manifest(jobs[0].output.parent, how(arguments, arguments.others)) if arguments.takes_folders else None
        )
        failures = run(
            jobs,
            partial(encode, arguments, look, model, vgg) if not arguments.compat else lambda paths: None,
            partial(paint_compatibly, arguments, look, model)
            if arguments.compat
            else partial(paint, arguments, look, model, vgg),
            partial(tell, arguments, look),
            manifest,
            arguments.resume,
        )
    fail_partly(failures)


def encode(
    arguments: Arguments, look: Preset, model: Model, vgg: Model | None, paths: tuple[Path, ...]
) -> Callable[[Sheet], Encoded]:
    """What gives the styles of files for a photo: in its color space, in its colors where these are to be matched."""

    def read(profile: bytes | None, colors: Moments | None = None) -> Encoded:
        named = [
            (files, [encode_file(path, model, look.style_size, None, vgg, colors, profile) for path in files.styles])
            for files in arguments.regions.files
        ]
        styles = arguments.styles.encode(paths, model, look.style_size, vgg, colors, profile)
        if look.transform == "whiten" and not styles:
            styles = [plain_style(model)]
        return Encoded(styles, named)

    if arguments.keep_colors == "matched":
        return lambda sheet: read(sheet.profile, sheet.colors())
    once = lru_cache(maxsize=2)(read)
    once(None)  # what is wrong with them is said before any photo is read
    return lambda sheet: once(own_space(sheet.profile))


def paint(
    arguments: Arguments, look: Preset, model: Model, vgg: Model | None, styles: Callable[[Sheet], Encoded], job: Job
) -> Report:
    """Writes the stylized picture, with the content's alpha and colour profile.

    Raises KeyboardInterrupt when it was refined in fewer steps than it should be, after it is written.
    """
    assert job.content is not None
    settings = Settings(look.levels, look.shrinkage, TRANSFORMS[look.transform])
    chroma = arguments.keep_colors == "luminance"
    further = 16 * len(arguments.regions.region) + 12 * chroma
    # Patches are compared over the whole photo.
    tile = "off" if arguments.patches else arguments.tile
    with laid_out(
        model, job.content, job.output, arguments.size, tile, further, arguments.saving, vgg is not None,
        arguments.look.photo,
    ) as sheet:  # fmt: skip
        parts = parts_of(arguments, look, model, styles(sheet), sheet, job)

        def write_step(word: str) -> After | None:
            def write(number: int, picture: object) -> None:
                sheet.write(beside(job.output, f"{word}{number}"), picture, parts, chroma=chroma)

            return write if arguments.steps else None

        picture, complete = sheet.paint(parts, settings, write_step("level")), True
        if vgg:
            steps = arguments.refining.steps
            picture, complete = sheet.refine(picture, parts, look.levels, vgg, steps, write_step("refined"))
        sheet.write(job.output, picture, parts, chroma=chroma)
        if not complete:
            print(f"{job.output} is refined in part", file=sys.stderr)
            raise KeyboardInterrupt
        return Report(sheet.before, sheet.after, str(job.output))


def parts_of(arguments: Arguments, look: Preset, model: Model, encoded: Encoded, sheet: Sheet, job: Job) -> Parts:
    """What is asked of which part of the photo."""
    regions = [
        Region(sheet.mask(files), styles, files.weights if styles else None, [factor * alpha for alpha in look.alpha])
        for (files, styles), factor in zip(encoded.regions, arguments.regions.factors, strict=True)
    ]
    rest = Region(None, encoded.styles, arguments.styles.mixtures())
    parts = resolve(model, [*regions, rest], look.levels, look.alpha).replace(visible=sheet.visible())
    if arguments.patches:
        pattern = jnp.asarray(read_style(job.styles[0], model, look.style_size, sheet.profile).rgb)
        if arguments.keep_colors == "matched":
            pattern = match_colors(pattern, sheet.colors())
        parts = parts.replace(rest=parts.rest.replace(pattern=pattern))
    return parts


def paint_compatibly(arguments: Arguments, look: Preset, model: Model, _: None, job: Job) -> Report:
    """Writes the picture as other projects make it, cut to the content's size where it is larger."""
    assert job.content is not None
    picture, resized = sized(job.content, "--size", arguments.size, model.config)
    painting = read_style(job.styles[0], model, arguments.look.style_size or 0, picture.icc_profile)
    convention = compat.Convention(arguments.compat or "floor", arguments.compat_divisor)
    exact = model.replace(dtype="float32")
    rgb = compat.stylize(
        exact, jnp.asarray(resized.rgb), jnp.asarray(painting.rgb), look.levels, look.alpha[0], convention=convention
    )
    height, width = (min(a, b) for a, b in zip(rgb.shape, resized.rgb.shape[:2], strict=False))
    alpha = None if resized.alpha is None else resized.alpha[:height, :width]
    metadata = arguments.saving.kept(resized.metadata)
    result = dataclasses.replace(resized, rgb=np.asarray(rgb)[:height, :width], alpha=alpha, metadata=metadata)
    images.write(job.output, result, arguments.saving.quality)
    return Report(picture.size, result.size, str(job.output))


def tell(arguments: Arguments, look: Preset, job: Job, report: Report, seconds: float) -> str:
    """One line about a picture that is done."""
    if arguments.compat:
        look = dataclasses.replace(look, transform="wct", shrinkage=0)
    model = arguments.networks.model
    if arguments.json:
        details = dataclasses.asdict(look) | {"model": model, "regions": [list(r) for r in arguments.regions.region]}
        details["refine_steps"] = arguments.refining.steps
        return record(job, report, seconds, **details)
    styles = " + ".join(path.name for path in job.styles)
    styles = styles or ("its regions' styles" if arguments.regions.region else "no style")
    levels = " ".join(f"{level}:{alpha:g}" for level, alpha in zip(look.levels, look.alpha, strict=True))
    refined = f", refined in {arguments.refining.steps} steps" if arguments.refining.steps else ""
    return (
        f"{job.content} ({report.before}) in the manner of {styles} -> {report.written} ({report.after}): "
        f"model {model}, {look.transform} at levels {levels}{refined}, {seconds:.1f} s"
    )
