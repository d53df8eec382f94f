"""What a picture's file says about it beside its pixels, from file to file: EXIF, XMP and print resolution.

Of EXIF what tells of the picture is kept, and the camera's and the place's own blocks. What tells of the file and its
pixels (orientation, size, thumbnail, how a TIFF or a raw file stores colors) holds no longer.
"""

import dataclasses
import struct
from numbers import Real
from typing import Any

from PIL import Image, PngImagePlugin

# EXIF tags: how a picture lies, and the pointers to the camera's and the place's own blocks.
ORIENTATION, BLOCKS = 274, (34665, 34853)
# Of the first block what tells of the picture: title, camera, program, date, people, rating, IPTC, Windows's words.
TELLING = {269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, 33723, *range(40091, 40096)}
RESOLUTION = {282, 283, 296}
OF_PIXELS = {40962, 40963, 40965}  # in the camera's block: width, height, and a pointer to what stays behind
XMP_OF_PNG, XMP_OF_TIFF = "XML:com.adobe.xmp", 700
LARGEST_CHUNK = 2**24  # bytes that a PNG's text or profile may have, decompressed; cameras and editors write megabytes
PIXELS_PER_MM = 25.4  # by which dots per inch are divided
LONGEST_IN_JPEG = 65504  # bytes of a block: a segment's 64 KiB less what stands before it
UNKNOWN_DPI = (72.0, 72.0)  # EXIF's own word for it
LARGEST_DPI = 2**16 - 1  # a JPEG has 16 bits for them
# What Pillow raises about files and blocks that are broken, apart from its own errors.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
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
    if xmp is None and isinstance(text := image.info.get(XMP_OF_PNG), str):
        xmp = text.encode("latin-1", "replace")  # as libvips writes it: compressed, for which Pillow takes it as a text
    return Metadata(_exif(image), xmp if isinstance(xmp, bytes) else None, _dpi(image))


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    """Dots per inch, if they can be: not numbers, or 1 for a shape of pixels alone, count as none."""
    try:
        width, height = map(float, image.info["dpi"])
    except BROKEN:
        return None
    return (width, height) if 1 < width <= LARGEST_DPI and 1 < height <= LARGEST_DPI else None


def frames_of(image: Image.Image) -> int:
    """How many pictures a file holds; 1 where that cannot be told."""
    try:
        return int(getattr(image, "n_frames", 1))
    except BROKEN:
        return 1


def exif_of(image: Image.Image) -> Image.Exif:
    """The block of an open picture, of which no pixel is decoded; raises one of BROKEN where it cannot be read.

    A PNG without one before its pixels Pillow would decode in search of one behind, which `decoding.open_image` found.
    """
    return Image.Image.getexif(image)


def _exif(image: Image.Image) -> bytes | None:
    """The block without what no longer holds, and without the tags that cannot be written again."""
    kept = Image.Exif()
    try:
        found = exif_of(image)
        kept.update(_writable({tag: found[tag] for tag in found if tag in TELLING | RESOLUTION}))
        blocks = {pointer: block for pointer in BLOCKS if (block := _writable(found.get_ifd(pointer), pointer))}
        for pointer, block in blocks.items():
            kept.get_ifd(pointer).update(block)
        return kept.tobytes() if kept or blocks else None
    except BROKEN:
        return None


def _writable(tags: dict[int, Any], pointer: int | None = None) -> dict[int, Any]:
    """Those of a block's tags, the first block's without a pointer, that hold of an output and can be written."""
    found = {tag: _as_stored(value) for tag, value in tags.items() if tag not in OF_PIXELS}
    return {tag: value for tag, value in found.items() if _can_be_written(tag, value, pointer)}


def _as_stored(value: Any) -> Any:
    """Text beyond ASCII as its bytes, whose encoding no file tells: Pillow reads it as Latin-1, and would write ?s."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


def _can_be_written(tag: int, value: Any, pointer: int | None) -> bool:
    probe = Image.Exif()
    block = probe if pointer is None else probe.get_ifd(pointer)
    block[tag] = value
    try:
        probe.tobytes()
    except BROKEN:
        return False
    return True


def for_pillow(metadata: Metadata, kind: str) -> dict[str, Any]:
    """The arguments of Pillow's `save` in a format; without the blocks that are too long for it."""
    found: dict[str, Any] = {"dpi": metadata.dpi} if metadata.dpi else {}
    if kind == "TIFF":
        return found | {"tiffinfo": _tags(metadata)}
    exif, xmp = metadata.exif, metadata.xmp
    if kind == "JPEG":
        exif, xmp = (block if block and len(block) <= LONGEST_IN_JPEG else None for block in (exif, xmp))
    if exif:
        found["exif"] = exif
    if xmp and kind == "PNG":
        found["pnginfo"] = PngImagePlugin.PngInfo()
        found["pnginfo"].add_itxt(XMP_OF_PNG, xmp.decode("utf-8", "replace"))
    elif xmp:
        found["xmp"] = xmp
    return found


def _tags(metadata: Metadata) -> dict[int, Any]:
    """EXIF's first block as a TIFF's own tags; libtiff takes no further blocks, and crashes at some sequences."""
    exif = Image.Exif()
    exif.load(metadata.exif or b"")
    told = {tag: _as_stored(value) for tag, value in exif.items() if tag in TELLING}
    found = {tag: value for tag, value in told.items() if isinstance(value, str | bytes | Real)}
    return found | ({XMP_OF_TIFF: metadata.xmp} if metadata.xmp else {})


def onto_vips(image: Any, metadata: Metadata) -> Any:
    """A picture of libvips with it, and EXIF's word for an unknown resolution, which libvips writes into every EXIF."""
    import pyvips

    width, height = metadata.dpi or UNKNOWN_DPI
    image = image.copy(xres=width / PIXELS_PER_MM, yres=height / PIXELS_PER_MM)
    for name, block in (("exif-data", metadata.exif), ("xmp-data", metadata.xmp)):
        if block:
            image.set_type(pyvips.GValue.blob_type, name, block)
    return image


def kept_by_vips(metadata: Metadata) -> str:
    """What libvips is to write of it: given nothing for EXIF, it would make a block up."""
    return "all" if metadata.exif or metadata.dpi else "icc|xmp"
