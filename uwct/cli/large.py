"""Stylizing a picture that does not fit in memory, or that --tile asks to do in windows."""

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from uwct import images, strips, tiling
from uwct.files import hidden_prefix
from uwct.model import Model
from uwct.presets import Preset
from uwct.transfer import Style


def paint_in_windows(
    model: Model,
    content: Path,
    output: Path,
    styles: list[Style],
    look: Preset,
    how: dict[str, Any],
    long_side: int,
    window: int,
) -> tuple[str, str]:
    """Writes the stylized picture; returns the size of what it was made from, and its own.

    Intermediate pictures lie in a hidden folder beside the output, some 27 bytes a pixel, until it is written. Raises
    what `strips.read`, `tiling.stylize` and `strips.write` raise, OSError also when the disk is too small.
    """
    images.check_folder(output.parent)
    found = strips.shape(content)
    if found is None:
        images.shape(content)  # says what is wrong with the file, if anything
        raise ValueError(f"{content} cannot be done in windows: its format is none of JPEG, PNG, WebP, TIFF and GIF")
    height, width = images.fitted(found, long_side)
    images.check_shape(output, (height, width))
    needed, free = 40 * height * width, shutil.disk_usage(output.parent).free
    if needed > free:
        raise OSError(
            f"{output} needs {needed / 2**30:.1f} GiB on the disk meanwhile, of which {free / 2**30:.1f} are free"
        )
    with (
        tempfile.TemporaryDirectory(dir=output.parent, prefix=hidden_prefix(output)) as name,
        tqdm(unit="window", leave=False) as bar,
    ):
        folder = Path(name)

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        picture = strips.read(content, folder, long_side)
        rgb = tiling.stylize(
            model, picture.rgb, styles, look.levels, look.alpha, folder=folder, window=window, progress=progress, **how
        )
        result = dataclasses.replace(picture, rgb=rgb)
        strips.write(output, result, folder)
    return f"{found[1]}x{found[0]}", result.size
