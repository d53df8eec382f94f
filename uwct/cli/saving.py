"""The options that say how pictures are written, and what their files tell."""

import dataclasses
from typing import Annotated

import tyro

from uwct.pictures.metadata import NOTHING, QUALITY, Metadata


@dataclasses.dataclass(frozen=True)
class Saving:
    """How pictures are saved; the words under each field are its help."""

    quality: int = QUALITY
    """Of JPEG and WebP files, from 1 to 100."""
    strip_metadata: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Leave out what the photo's file says beside its pixels and their color profile: date, camera and place (EXIF),
    XMP, print resolution. Otherwise the output says it, too."""

    def check(self) -> None:
        """Raises ValueError for a quality that cannot be."""
        if not 1 <= self.quality <= 100:
            raise ValueError(f"--quality must lie between 1 and 100, not {self.quality}")

    def kept(self, metadata: Metadata) -> Metadata:
        """What of a photo's metadata is written."""
        return NOTHING if self.strip_metadata else metadata
