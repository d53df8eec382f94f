"""The options of `uwct video`, and which of them go together."""

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Literal

import tyro

from uwct.cli.limits import check_size
from uwct.cli.look import Look
from uwct.cli.networks import Networks
from uwct.cli.plan import check_outputs
from uwct.cli.refining import Refining
from uwct.cli.regions import Regions
from uwct.cli.styles import Styles
from uwct.pictures import images
from uwct.pictures.clip_writer import SUFFIXES, check_suffix

NUMBERED = re.compile(r"\d{6}\.png")  # names of frames of a clip
Place = Annotated[Path, tyro.conf.Positional]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    source: Annotated[Place, tyro.conf.arg(name="in", metavar="IN")]
    """The video, an animated picture, or a folder of frames: pictures of one size, in the order of the numbers in their
    names."""
    output: Annotated[Place, tyro.conf.arg(name="out", metavar="OUT")]
    """The video to write: .mp4, .mov, .m4v, .mkv, .webm, .gif or .webp; or a folder for frames, made if need be: a name
    without a suffix. Of a folder of frames it is always a folder."""
    look: Annotated[Look, tyro.conf.arg(name="")]
    styles: Annotated[Styles, tyro.conf.arg(name="")]
    regions: Annotated[Regions, tyro.conf.arg(name="")]
    refining: Annotated[Refining, tyro.conf.arg(name="")]
    networks: Annotated[Networks, tyro.conf.arg(name="")]
    keep_colors: Annotated[Literal["luminance"] | None, tyro.conf.arg(metavar="{luminance}")] = None
    """Keep the video's colors: take only light and dark from the stylized frames."""
    temporal: float = 0.9
    """How steady the look is, from 0 (each frame on its own) to less than 1: how much the frames before count."""
    size: int = 0
    """Long side of the result in pixels; 0 keeps the video's size."""
    batch: int = 0
    """How many frames to compute at once at most, which changes the speed, not the result; 0 stands for 1 on a CPU, 8
    elsewhere."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With a folder as OUT: go on after the frames that an earlier run, of the same files, options and versions, has
    finished; the result is that of a run that did not break off."""

    @property
    def into_folder(self) -> bool:
        """Whether frames are written as pictures into a folder."""
        return self.source.is_dir() or self.output.is_dir() or not self.output.suffix

    @property
    def others(self) -> list[Path]:
        """The files that are named beside the video and its styles."""
        named = self.regions.files
        return [*self.styles.style_mask, *(file for files in named for file in (files.mask, *files.styles))]

    def check(self) -> None:
        """Raises ValueError or OSError for arguments that do not make sense."""
        source, output, paths = self.source, self.output, self.styles.paths
        look = self.look.resolve()
        if not paths and not self.regions.region and look.transform != "whiten":
            raise ValueError("--style needs at least one picture")
        for path in paths:
            if path.is_dir():
                raise IsADirectoryError(f"{path} is a folder; a video takes style pictures and style files")
        self.styles.check(len(look.levels))
        self.regions.check(bool(paths))
        self.refining.check(look.transform)
        if not 0 <= self.temporal < 1:
            raise ValueError(f"--temporal must be at least 0 and less than 1, not {self.temporal:g}")
        if self.batch < 0:
            raise ValueError(f"--batch must be at least 0, not {self.batch}")
        check_size("--size", self.size)
        if not source.exists():
            raise FileNotFoundError(f"there is no video {source}")
        if source.resolve() == output.resolve():
            raise ValueError(f"OUT would overwrite {source}; give another name")
        if output == images.STANDARD:
            raise ValueError("OUT must be a file or a folder: no video is written to standard output")
        if source.is_dir() and (output.suffix.lower() in SUFFIXES or output.is_file()):
            raise ValueError(f"{source} is a folder of frames, so the output must be a folder too, not {output}")
        if self.into_folder and output.is_file():
            raise NotADirectoryError(f"{output} is a file, and a name without a suffix stands for a folder of frames")
        if self.resume and not self.into_folder:
            raise ValueError("--resume needs a folder as OUT")
        for given in (source, *paths, *self.others) if self.into_folder else ():
            if given.resolve().parent == output.resolve() and NUMBERED.fullmatch(given.name):
                raise ValueError(f"OUT could overwrite {given}; give another folder")
        if not self.into_folder:
            check_suffix(output)
            images.check_folder(output.parent)
            check_outputs([output], [source, *paths, *self.others], "OUT")
