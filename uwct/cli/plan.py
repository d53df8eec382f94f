"""Which pictures a command shall make of the files and folders that it was given, checked before any work."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from uwct.pictures import images


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture to make: of a photo, or of noise if there is none, in the manner of one or several styles mixed."""

    content: Path | None
    styles: tuple[Path, ...]
    output: Path


def plan(
    content: Path | None,
    styles: Sequence[Path],
    output: Path | None,
    others: Sequence[Path] = (),
    further: Sequence[str] = (),
) -> list[Job]:
    """One job, or one for each picture of a folder. Raises ValueError or OSError for what cannot be done.

    `content` is a picture, a folder, or None for a texture; `styles` are pictures to mix, or one folder of pictures to
    use in turn; `output` is a file, a folder, or None for a file named after content and style; `others` are further
    files that are read, `further` the words in the names of what else is written beside an output (see `beside`). A
    content or an output called - is standard input or output.
    """
    named = [path for path in (content, *styles, *others) if path is not None]
    for path in named:
        if not path.exists() and path != images.STANDARD:
            raise FileNotFoundError(f"there is no picture {path}")
    for path in others:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder, not a picture")
    if named.count(images.STANDARD) > 1:
        raise ValueError("standard input (-) is one picture: name it once, and save others to files")
    folders = [path for path in named if path.is_dir()]
    jobs = plan_folder(content, styles, output, folders) if folders else [plan_picture(content, styles, output)]
    inputs = {given for job in jobs for given in (job.content, *job.styles, *others) if given is not None}
    outputs = [job.output for job in jobs]
    check_outputs([*outputs, *(beside(output, word) for output in outputs for word in further)], inputs)
    return jobs


def beside(output: Path, word: str) -> Path:
    """The name of a further picture: out.png becomes out.word.png."""
    return output.with_suffix(f".{word}{output.suffix}")


def text_stream(output: Path) -> TextIO:
    """Where a command says what it did: on stderr if the picture itself is on standard output."""
    return sys.stderr if output == images.STANDARD else sys.stdout


def check_output(output: Path, inputs: Iterable[Path] = ()) -> None:
    """Raises ValueError or OSError for a file that cannot be written, or that is an input too."""
    images.check_folder(output.parent)
    check_outputs([output], inputs)


def check_outputs(outputs: Sequence[Path], inputs: Iterable[Path], option: str = "--output") -> None:
    """Raises ValueError or OSError for an output that is a folder, or an input too, and for two of one name."""
    given = {path.resolve(): path for path in inputs}
    for output in outputs:
        if output.is_dir():
            raise IsADirectoryError(f"{output} is a folder; name a file to write")
        if output.resolve() in given and output != images.STANDARD:
            raise ValueError(f"{option} would overwrite {given[output.resolve()]}; give another name")
    (path, count), *_ = Counter(outputs).most_common(1)
    if count > 1:
        raise ValueError(f"{count} pictures would be written to {path}; rename their files")


def plan_picture(content: Path | None, styles: Sequence[Path], output: Path | None) -> Job:
    """The job for one content and one mixture."""
    source = named_as(content).stem
    default = Path("_".join([source, *([path.stem for path in styles] or ["stylized"])]) + ".png")
    output = output or default
    output = output / default if output.is_dir() else output
    images.file_format(output)
    images.check_folder(output.parent)
    return Job(content, tuple(styles), output)


def plan_folder(
    content: Path | None, styles: Sequence[Path], output: Path | None, folders: Sequence[Path]
) -> list[Job]:
    """A job for every content under every style.

    A content keeps its name, with the style's added where styles come from a folder, and .png where it must be.
    """
    if output is None:
        raise ValueError("a folder as --content or --style needs a folder as --output")
    images.check_folder(output)
    if output.resolve() in [folder.resolve() for folder in folders]:
        raise ValueError(f"--output must be another folder than --content and --style, not {output}")
    if any(style.is_dir() and style.resolve() in output.resolve().parents for style in styles):
        raise ValueError(f"--output must lie outside the folder of styles, which is searched whole, not in {output}")
    contents = images.pictures_in(content) if content and content.is_dir() else [content]
    return [
        Job(photo, paths, output / output_name(photo, style)) for style, paths in mixtures(styles) for photo in contents
    ]


def mixtures(styles: Sequence[Path]) -> list[tuple[str, tuple[Path, ...]]]:
    """The styles to use in turn: the name to add to their outputs, if any, and the pictures to mix."""
    if not any(path.is_dir() for path in styles):
        return [("", tuple(styles))]
    if len(styles) > 1:
        raise ValueError("a folder as --style must be the only one; mixtures are made of pictures")
    (folder,) = styles
    pictures = images.pictures_in(folder, recursive=True)
    return [("_".join(picture.relative_to(folder).with_suffix("").parts), (picture,)) for picture in pictures]


def named_as(photo: Path | None) -> Path:
    """A photo, or what stands for its name where there is none or it comes from standard input."""
    return Path("texture.png") if photo is None else Path("stdin.png") if photo == images.STANDARD else photo


def output_name(photo: Path | None, style: str) -> str:
    """The name of an output in a folder."""
    photo = named_as(photo)
    keeps = photo.suffix.lower() in images.SUFFIXES
    if not style:
        return photo.name if keeps else f"{photo.name}.png"
    return f"{photo.stem}_{style}{photo.suffix if keeps else '.png'}"
