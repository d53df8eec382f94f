"""What `uwct stylize` does, once its options are read."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from uwct.cli.encoding import encode_file, encode_files, plain_style, read_style
from uwct.cli.jobs import Report, record, run
from uwct.cli.manifest import Manifest, how
from uwct.cli.options import Arguments
from uwct.cli.plan import Job, beside
from uwct.cli.regions import RegionFiles
from uwct.cli.sheet import After, Sheet, laid_out
from uwct.cli.sizes import check_tile, sized
from uwct.cli.watching import observer
from uwct.networks.config import stride
from uwct.networks.model import Model
from uwct.pictures import images
from uwct.pictures.spaces import own_space
from uwct.pipeline import compat, swap
from uwct.pipeline.colors import match_colors
from uwct.pipeline.level import Settings
from uwct.pipeline.padding import STRIDE
from uwct.pipeline.parts import Parts, Region, resolve
from uwct.pipeline.presets import Preset
from uwct.pipeline.styles import Style
from uwct.transforms.matching import TRANSFORMS
from uwct.transforms.statistics import Moments


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The styles that pictures take on: those of the whole picture, or of what no mask covers, and those of regions."""

    styles: list[Style]
    regions: list[tuple[RegionFiles, list[Style]]]


def paint_all(arguments: Arguments, jobs: Sequence[Job]) -> list[str]:
    """Paints the pictures, and returns what was wrong with those that failed; one alone raises it."""
    look = arguments.look.resolve()
    model = arguments.networks.load(look.levels)
    check_tile(arguments.tile, model, () if arguments.look.photo else look.levels)
    vgg = observer(arguments.refining, model.dtype)
    manifest = Manifest(jobs[0].output.parent, how(arguments, arguments.others)) if arguments.takes_folders else None
    doing = partial(run, jobs, tell=partial(tell, arguments, look), manifest=manifest, resume=arguments.resume)
    if arguments.compat:
        return doing(encode=lambda paths: None, do=partial(paint_compatibly, arguments, look, model))
    return doing(encode=partial(encode, arguments, look, model, vgg), do=partial(paint, arguments, look, model, vgg))


def encode(
    arguments: Arguments, look: Preset, model: Model, vgg: Model | None, paths: tuple[Path, ...]
) -> Callable[[Sheet], Encoded]:
    """What gives the styles of files for a photo: in its color space, in its colors where these are to be matched."""

    def read(profile: bytes | None, colors: Moments | None = None) -> Encoded:
        how: Any = {"vgg": vgg, "colors": colors, "profile": profile, "levels": look.levels}
        named = [
            (files, [encode_file(path, model, look.style_size, **how) for path in files.styles])
            for files in arguments.regions.files
        ]
        styles = encode_files(arguments.styles, paths, model, look.style_size, **how)
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
    if arguments.patches:
        check_patches(arguments, look, job)
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


def check_patches(arguments: Arguments, look: Preset, job: Job) -> None:
    """Raises ValueError for a photo or a style that at its size has no patch of features, at the deepest level."""
    level = look.levels[0]
    least = (swap.SIDE * stride(level) - 1) // STRIDE * STRIDE + 1  # padded to a multiple of STRIDE
    for path, long_side in ((job.content, arguments.size), (job.styles[0], look.style_size)):
        if path is None or path == images.STANDARD:
            continue
        height, width = images.fitted(images.upright_shape(path), long_side)
        if min(height, width) < least:
            raise ValueError(
                f"{path} at {width}x{height} pixels is too small for --patches at level {level}: "
                f"{least} are needed a side"
            )


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
