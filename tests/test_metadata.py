"""What files say beside their pixels, from file to file."""

import struct

import numpy as np
import pytest
from conftest import picture
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from test_images import grey_icc

from uwct.pictures import images
from uwct.pictures.metadata import Metadata

RGB = np.uint8(255 * picture(20, 30))
SUFFIXES = [".jpg", ".png", ".webp", ".tif"]
RESOLUTION = {282, 283, 296}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_file_says_is_kept_but_the_orientation(tmp_path, suffix):
    exif = Image.Exif()
    exif[274], exif[271], exif[306] = 6, "Camera", "2026:01:02 03:04:05"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8769)[36867] = "2026:01:02 03:04:05"
    Image.fromarray(RGB).save(tmp_path / "in.jpg", exif=exif, dpi=(300, 200), xmp=b"<x/>")
    picture = images.read(tmp_path / "in.jpg")
    images.write(tmp_path / f"out{suffix}", picture)
    written = Image.open(tmp_path / f"out{suffix}")
    found = written.getexif()
    assert written.size == (picture.rgb.shape[1], picture.rgb.shape[0])
    assert (found.get(274, 1), found[271], found[306]) == (1, "Camera", "2026:01:02 03:04:05")
    assert written.info["xmp"] == b"<x/>"
    if suffix != ".webp":  # which has no place for it but in EXIF
        assert written.info["dpi"] == pytest.approx((300, 200), rel=1e-3)
    if suffix != ".tif":
        assert found.get_ifd(0x8825)[1] == "N"
        assert found.get_ifd(0x8769)[36867] == "2026:01:02 03:04:05"


def test_of_exif_what_can_be_written_again_is_kept(tmp_path):
    exif = Image.Exif()
    exif[271] = "Camera"
    block = exif.tobytes()
    Image.fromarray(RGB).save(tmp_path / "in.jpg", exif=block.replace(b"Camera", b"Cam\xff\xfera"))
    images.write(tmp_path / "out.jpg", images.read(tmp_path / "in.jpg"))  # whatever is in it, it is written
    assert Image.open(tmp_path / "out.jpg").size == Image.fromarray(RGB).size


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_how_a_tiff_stores_its_pixels_is_not_said_of_the_output(tmp_path, suffix):
    """In tiles, by JPEG, and as grey, of which its profile is."""
    import pyvips

    stored = pyvips.Image.new_from_array(RGB[..., :1])
    stored.set_type(pyvips.GValue.blob_type, "icc-profile-data", grey_icc())
    stored.write_to_file(str(tmp_path / "in.tif"), tile=True, compression="jpeg")
    assert {322, 347, 34675} < set(Image.open(tmp_path / "in.tif").tag_v2)
    images.write(tmp_path / f"out{suffix}", images.read(tmp_path / "in.tif"))
    images.write(tmp_path / f"plain{suffix}", images.Picture(np.zeros((20, 30, 3), np.float32)))
    found, plain = (Image.open(tmp_path / f"{name}{suffix}") for name in ("out", "plain"))
    assert "icc_profile" not in found.info
    assert set(found.getexif()) - RESOLUTION <= set(plain.getexif())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_sizes_and_pointers_of_another_file_are_not_said(tmp_path, suffix):
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({33434: IFDRational(1, 60), 40962: 30, 40963: 20, 40965: 99})
    Image.fromarray(RGB).save(tmp_path / "in.jpg", exif=exif)
    assert 40965 in Image.open(tmp_path / "in.jpg").getexif().get_ifd(0x8769)
    images.write(tmp_path / f"out{suffix}", images.resize(images.read(tmp_path / "in.jpg"), (10, 15)))
    assert set(Image.open(tmp_path / f"out{suffix}").getexif().get_ifd(0x8769)) <= {33434}


@pytest.mark.parametrize("tag", [50721, 50727])
def test_a_tiff_gets_no_sequences_at_which_libtiff_crashes(tmp_path, tag):
    """Raw files have matrices of rationals."""
    exif = Image.Exif()
    exif[tag], exif[271] = tuple(IFDRational(i, 7) for i in range(1, 10)), "Camera"
    Image.fromarray(RGB).save(tmp_path / "in.png", exif=exif)
    images.write(tmp_path / "out.tif", images.read(tmp_path / "in.png"))
    assert Image.open(tmp_path / "out.tif").getexif()[271] == "Camera"


def test_a_tag_of_a_wrong_type_costs_no_other(tmp_path):
    """The latitude as a number, by hand."""
    exif = Image.Exif()
    exif[271] = "Camera"
    exif.get_ifd(0x8825).update({2: (IFDRational(1, 1),) * 3, 29: "2026:01:02"})
    latitude = b"\x00\x02\x00\x05\x00\x00\x00\x03"
    data = exif.tobytes()
    assert data.count(latitude) == 1
    Image.fromarray(RGB).save(tmp_path / "in.png", exif=data.replace(latitude, b"\x00\x02\x00\x07\x00\x00\x00\x03"))
    images.write(tmp_path / "out.png", images.read(tmp_path / "in.png"))
    found = Image.open(tmp_path / "out.png").getexif()
    assert (found[271], dict(found.get_ifd(0x8825))) == ("Camera", {29: "2026:01:02"})


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("ratio", [(0, 0), (2**32 - 1, 1), (655356, 10)], ids=["nan", "2^32", "65535.6"])
def test_a_resolution_that_cannot_be_is_none(tmp_path, axis, ratio):
    Image.fromarray(RGB).save(tmp_path / "in.tif", dpi=(300, 200))
    data = (tmp_path / "in.tif").read_bytes()
    stored = struct.pack("<II", (300, 200)[axis], 1)
    assert data.count(stored) == 1
    (tmp_path / "in.tif").write_bytes(data.replace(stored, struct.pack("<II", *ratio)))
    found = images.read(tmp_path / "in.tif")
    assert found.metadata.dpi is None
    for suffix in SUFFIXES:
        images.write(tmp_path / f"out{suffix}", found)
        assert images.read(tmp_path / f"out{suffix}").size == "30x20"


def test_the_xmp_of_pngs_of_16_bits_is_found_again(tmp_path):
    """Which libvips writes."""
    said = Metadata(xmp="<x>René</x>".encode())
    images.write(tmp_path / "out.png", images.Picture(picture(4, 5), metadata=said, depth=16))
    assert images.read(tmp_path / "out.png").metadata.xmp == said.xmp


@pytest.mark.parametrize("left_out", ["exif", "xmp"])
def test_a_block_that_is_too_long_for_jpeg_is_left_out(tmp_path, left_out):
    exif = Image.Exif()
    exif[270] = "a" * (70_000 if left_out == "exif" else 1000)
    xmp = b"<x>" + b"a" * (70_000 if left_out == "xmp" else 1000) + b"</x>"
    Image.fromarray(RGB).save(tmp_path / "in.webp", exif=exif, xmp=xmp)
    images.write(tmp_path / "out.jpg", images.read(tmp_path / "in.webp"))
    out = Image.open(tmp_path / "out.jpg")
    assert (out.getexif().get(270), out.info.get("xmp")) == ((None, xmp) if left_out == "exif" else (exif[270], None))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_texts_beyond_ascii_keep_their_bytes(tmp_path, suffix, encoding):
    name = "René Lévesque".encode(encoding)
    exif = Image.Exif()
    exif[315] = name
    Image.fromarray(RGB).save(tmp_path / "in.jpg", exif=exif)
    images.write(tmp_path / f"out{suffix}", images.read(tmp_path / "in.jpg"))
    assert name in (tmp_path / f"out{suffix}").read_bytes()
