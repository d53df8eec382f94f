"""`python stylize.py`, also installed as `uwct stylize`."""

import dataclasses
import json
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array
from tqdm import tqdm

from uwct import colors, compat, images
from uwct.cli import regions
from uwct.cli.cache import start_quickly
from uwct.cli.dtypes import dtype_for
from uwct.cli.encoding import encode_file, plain_style
from uwct.cli.errors import FAULTS, fail_partly, one_sentence, sentence
from uwct.cli.large import paint_in_windows
from uwct.cli.manifest import Manifest, how
from uwct.cli.options import Arguments, check, mixtures, needs_whole, region_files, style_paths, takes_folders
from uwct.cli.plan import Job, beside, plan
from uwct.cli.sizes import check_tile, pixel_limit, sized, window_for
from uwct.cli.textures import paint_textures
from uwct.model import Model, load
from uwct.presets import TRANSFORMS, Preset
from uwct.regions import Region
from uwct.swap import stylize_by_patches
from uwct.transfer import Style, check_strengths, stylize

HELP = """Paint a photo in the manner of any picture.

The method, WCT (whitening and coloring transform), looks at both pictures through a pretrained image network. It
removes from the photo's features the mean and the correlations that make up its look (whitening), puts those of the
style picture in their place (coloring), and turns the features back into a picture. It can do so at five levels of the
network, from coarse (5: strokes and composition) to fine (1: colors). Nothing is trained per style. The presets use a
gentler relative of it (--transform monge, --shrinkage); --transform wct --shrinkage 0 is the method itself.

Examples:
  python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --output out.png
  python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --preset photo --size 256
  python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --levels 4 --size 256
  python stylize.py --texture --style examples/styles/mosaic.jpg --size 256 --seed 1"""


def main(argv: list[str] | None = None, prog: str = "stylize.py") -> None:
    """Stylizes, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    start_quickly()
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        check(arguments)
        others, further = masks_and_styles(arguments), further_pictures(arguments)
        jobs = plan(arguments.content, style_paths(arguments), arguments.output, others, further)
        failures = run(arguments, jobs)
    fail_partly(failures)


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The styles that pictures take on: those of the whole picture, or of what no mask covers, and those of regions."""

    styles: list[Style]
    regions: list[tuple[regions.RegionFiles, list[Style]]]


def further_pictures(arguments: Arguments) -> list[str]:
    """The words in the names of what is written beside an output."""
    steps = [f"level{level}" for level in arguments.look.resolve().levels] if arguments.steps else []
    return steps + [f"{number:03d}" for number in range(arguments.frames)]


def masks_and_styles(arguments: Arguments) -> list[Path]:
    """The files that are named beside content and styles."""
    named = region_files(arguments)
    return [*arguments.style_mask, *(file for files in named for file in (files.mask, *files.styles))]


def run(arguments: Arguments, jobs: list[Job]) -> list[str]:
    """Does every job; a bad picture among several is passed over, and what was wrong with it is returned."""
    look = arguments.look.resolve()
    if arguments.compat:
        look = dataclasses.replace(look, transform="wct", shrinkage=0)
    model = load(arguments.model, dtype="float32" if arguments.compat else dtype_for(arguments.dtype))
    model.check_levels(look.levels)
    check_tile(arguments.tile, model.config)
    each_anew = arguments.compat or arguments.keep_colors == "matched"  # styles that depend on the photo
    manifest = None
    if takes_folders(arguments):
        manifest = Manifest(jobs[0].output.parent, how(arguments, masks_and_styles(arguments)))
    alone, failures = len(jobs) == 1, []
    if manifest and arguments.resume:
        jobs = without_finished(jobs, manifest)
    with tqdm(total=len(jobs), unit="picture", disable=len(jobs) <= 1) as bar:
        for paths, group in groupby(jobs, key=lambda job: job.styles):
            of_style = list(group)
            try:
                encoded = None if each_anew else encode(arguments, look, model, paths)
            except FAULTS as fault:
                if alone:
                    raise
                failures.append(sentence(fault))
                bar.update(len(of_style))
                continue
            for job in of_style:
                start = time.perf_counter()
                try:
                    before, after = do(arguments, look, model, encoded, job)
                    if manifest:
                        manifest.add(job)
                except FAULTS as fault:
                    if alone:
                        raise
                    failures.append(f"{job.output}: {sentence(fault)}")
                else:
                    tell(arguments, look, job, before, after, time.perf_counter() - start)
                bar.update()
    return failures


def without_finished(jobs: list[Job], manifest: Manifest) -> list[Job]:
    """The jobs that are left to do; says how many are not."""
    left = [job for job in jobs if not manifest.finished(job)]
    print(f"{len(jobs) - len(left)} of {len(jobs)} pictures are finished already", file=sys.stderr)
    return left


def do(arguments: Arguments, look: Preset, model: Model, encoded: Encoded | None, job: Job) -> tuple[str, str]:
    """Writes one picture, whole or in windows; returns the size of what it was made from, and its own."""
    if arguments.compat:
        picture, before = paint_compatibly(arguments, look, model, job)
    elif job.content is None:
        assert encoded is not None
        return paint_textures(arguments, look, model, encoded.styles, options(arguments, look), job.output)
    elif (
        encoded
        and not needs_whole(arguments)
        and (window := window_for(job.content, arguments.size, arguments.tile, model.config))
    ):
        how = options(arguments, look)
        return paint_in_windows(model, job.content, job.output, encoded.styles, look, how, arguments.size, window)
    else:
        picture, before = paint(arguments, look, model, encoded, job)
    images.write(job.output, picture)
    return before, picture.size


def options(arguments: Arguments, look: Preset) -> dict[str, Any]:
    """The further arguments of `stylize` and its like."""
    rows = [[weight / sum(row) for weight in row] for row in mixtures(arguments)]
    weights = rows if len(rows) > 1 else rows[0] if rows else None
    return {"weights": weights, "transform": TRANSFORMS[look.transform], "shrinkage": look.shrinkage}


def encode(
    arguments: Arguments, look: Preset, model: Model, paths: tuple[Path, ...], photo: Array | None = None
) -> Encoded:
    """The styles of files, of style pictures in the colors of a photo if one is given."""
    masks = arguments.style_mask or [None] * len(paths)
    named = [
        (files, [encode_file(path, model, look.style_size, None, photo) for path in files.styles])
        for files in region_files(arguments)
    ]
    styles = [encode_file(path, model, look.style_size, mask, photo) for path, mask in zip(paths, masks, strict=True)]
    if look.transform == "whiten" and not styles:
        styles = [plain_style(model)]
    return Encoded(styles, named)


def paint(
    arguments: Arguments, look: Preset, model: Model, encoded: Encoded | None, job: Job
) -> tuple[images.Picture, str]:
    """The stylized picture, with the content's alpha and colour profile, and the size of what it was made from."""
    assert job.content is not None
    picture, resized = sized(job.content, "--size", arguments.size, model.config)
    photo, how = jnp.asarray(resized.rgb), options(arguments, look)
    encoded = encoded or encode(arguments, look, model, job.styles, photo)

    def finished(rgb: Array) -> images.Picture:
        kept = colors.keep_chroma(rgb, photo) if arguments.keep_colors == "luminance" else rgb
        return dataclasses.replace(resized, rgb=np.asarray(kept))

    if encoded.regions:
        rest = Region(None, encoded.styles, how["weights"])
        rgb = regions.paint_regions(model, photo, encoded.regions, rest, arguments.region_alpha, look)
    elif arguments.patches:
        _, painting = sized(job.styles[0], "--style-size", look.style_size, model.config)
        style = jnp.asarray(painting.rgb)
        style = colors.match_colors(style, photo) if arguments.keep_colors == "matched" else style
        del how["weights"]
        rgb = stylize_by_patches(model, photo, style, look.levels, look.alpha, **how)
    elif arguments.steps:
        rgb = photo
        shares, _ = check_strengths(len(encoded.styles), how.pop("weights"), look.levels, look.alpha)
        for level, alpha, share in zip(look.levels, look.alpha, shares, strict=True):
            rgb = stylize(model, rgb, encoded.styles, (level,), alpha, weights=share, **how)
            images.write(beside(job.output, f"level{level}"), finished(rgb))
    else:
        rgb = stylize(model, photo, encoded.styles, look.levels, look.alpha, **how)
    return finished(rgb), picture.size


def paint_compatibly(arguments: Arguments, look: Preset, model: Model, job: Job) -> tuple[images.Picture, str]:
    """The stylized picture as other projects make it, cut to the content's size where it is larger."""
    picture, resized = sized(job.content or Path(), "--size", arguments.size, model.config)
    _, painting = sized(job.styles[0], "--style-size", arguments.look.style_size or 0, model.config)
    convention = compat.Convention(arguments.compat or "floor", arguments.compat_divisor)
    rgb = compat.stylize(
        model, jnp.asarray(resized.rgb), jnp.asarray(painting.rgb), look.levels, look.alpha[0], convention=convention
    )
    height, width = (min(a, b) for a, b in zip(rgb.shape, resized.rgb.shape[:2], strict=False))
    alpha = None if resized.alpha is None else resized.alpha[:height, :width]
    return dataclasses.replace(resized, rgb=np.asarray(rgb)[:height, :width], alpha=alpha), picture.size


def tell(arguments: Arguments, look: Preset, job: Job, before: str, after: str, seconds: float) -> None:
    """Prints one line about a picture that is done, on stderr if the picture itself is on standard output."""
    record = {
        "content": str(job.content) if job.content else None,
        "content_size": before,
        "styles": [str(path) for path in job.styles],
        "regions": [list(words) for words in arguments.region],
        "output": written(arguments, job),
        "output_size": after,
        "model": arguments.model,
        "levels": look.levels,
        "alpha": look.alpha,
        "transform": look.transform,
        "shrinkage": look.shrinkage,
        "seconds": round(seconds, 3),
    }
    line = json.dumps(record) if arguments.json else sentence_about(arguments, look, job, before, after, seconds)
    tqdm.write(line, file=sys.stderr if str(job.output) == "-" else sys.stdout)


def written(arguments: Arguments, job: Job) -> str:
    """The name of what a job wrote, or of the first and the last of several textures."""
    if not arguments.frames:
        return str(job.output)
    return " to ".join(str(beside(job.output, f"{number:03d}")) for number in (0, arguments.frames - 1))


def sentence_about(arguments: Arguments, look: Preset, job: Job, before: str, after: str, seconds: float) -> str:
    """What was done, for people."""
    source, styles = (
        job.content or "noise",
        " + ".join(path.name for path in job.styles) or ("its regions' styles" if arguments.region else "no style"),
    )
    levels = " ".join(f"{level}:{alpha:g}" for level, alpha in zip(look.levels, look.alpha, strict=True))
    return (
        f"{source} ({before}) in the manner of {styles} -> {written(arguments, job)} ({after}): "
        f"model {arguments.model}, {look.transform} at levels {levels}, {seconds:.1f} s"
    )
