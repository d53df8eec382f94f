"""What a picture's file says about it beside its pixels, from file to file: EXIF, XMP and print resolution.

Of EXIF all is kept but what no longer holds: the orientation, since pictures are turned upright, and the thumbnail.
"""

import dataclasses
import struct
from typing import Any

from PIL import Image, PngImagePlugin

# EXIF tags: how a picture lies, where a TIFF's pixels are, and the pointers to the camera's and the place's own blocks.
ORIENTATION, STRIPS, BLOCKS = 274, (273, 277, 278, 279, 284, 317, 339), (34665, 34853)
XMP_OF_PNG, XMP_OF_TIFF = "XML:com.adobe.xmp", 700
PIXELS_PER_MM = 25.4  # by which dots per inch are divided
# What Pillow raises about blocks that are broken.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    struct.error,
)


QUALITY = 95  # of JPEG and WebP files, where nobody says


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Each None where the file has none.

    Attributes:
      exif: the block's bytes.
      xmp: the packet's bytes.
      dpi: dots per inch along (width, height).
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


NOTHING = Metadata()


def metadata_of(image: Image.Image) -> Metadata:
    """Of an open picture; a block that is broken counts as none."""
    xmp = image.info.get("xmp")
    dpi = image.info.get("dpi")
    try:
        dpi = (float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 1 else None
    except BROKEN:
        dpi = None
    return Metadata(_exif(image), xmp if isinstance(xmp, bytes) else None, dpi)


def frames_of(image: Image.Image) -> int:
    """How many pictures a file holds; 1 where that cannot be told."""
    try:
        return int(getattr(image, "n_frames", 1))
    except BROKEN:
        return 1


def _exif(image: Image.Image) -> bytes | None:
    """The block without what no longer holds, and without the tags that cannot be written again."""
    kept = Image.Exif()
    try:
        found = image.getexif()
        # A TIFF's first block is about its own bytes too: what describes the picture begins with 270.
        dropped = {ORIENTATION, *STRIPS, *(range(270) if image.format == "TIFF" else ())}
        tags = {tag: found[tag] for tag in found if tag not in (*dropped, *BLOCKS)}
        blocks = {tag: found.get_ifd(tag) for tag in BLOCKS}
    except BROKEN:
        return None
    kept.update({tag: value for tag, value in tags.items() if _can_be_written(tag, value)})
    for tag, block in blocks.items():
        kept.get_ifd(tag).update({name: value for name, value in block.items() if _can_be_written(name, value)})
    return kept.tobytes() if any(block for block in (kept, *blocks.values())) else None


def _can_be_written(tag: int, value: Any) -> bool:
    probe = Image.Exif()
    probe[tag] = value
    try:
        probe.tobytes()
    except BROKEN:
        return False
    return True


def for_pillow(metadata: Metadata, kind: str) -> dict[str, Any]:
    """The arguments of Pillow's `save` in a format."""
    found: dict[str, Any] = {"dpi": metadata.dpi} if metadata.dpi else {}
    if kind == "TIFF":
        return found | {"tiffinfo": _tags(metadata)}
    if metadata.exif:
        found["exif"] = metadata.exif
    if metadata.xmp and kind == "PNG":
        found["pnginfo"] = PngImagePlugin.PngInfo()
        found["pnginfo"].add_itxt(XMP_OF_PNG, metadata.xmp.decode("utf-8", "replace"))
    elif metadata.xmp:
        found["xmp"] = metadata.xmp
    return found


def _tags(metadata: Metadata) -> dict[int, Any]:
    """EXIF's first block as a TIFF's own tags; libtiff takes no further blocks."""
    exif = Image.Exif()
    exif.load(metadata.exif or b"")
    found = {tag: value for tag, value in exif.items() if tag not in BLOCKS}
    return found | ({XMP_OF_TIFF: metadata.xmp} if metadata.xmp else {})


def onto_vips(image: Any, metadata: Metadata) -> Any:
    """A picture of libvips with it."""
    import pyvips

    if metadata.dpi:
        image = image.copy(xres=metadata.dpi[0] / PIXELS_PER_MM, yres=metadata.dpi[1] / PIXELS_PER_MM)
    for name, block in (("exif-data", metadata.exif), ("xmp-data", metadata.xmp)):
        if block:
            image.set_type(pyvips.GValue.blob_type, name, block)
    return image
