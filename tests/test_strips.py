"""Large pictures in and out, against what images.py does with the same files."""

import io
import struct
import zlib

import numpy as np
import pytest
import pyvips
from conftest import picture
from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin

from uwct.pictures import images, strips
from uwct.pictures.canvas import Canvas
from uwct.pictures.metadata import Metadata
from uwct.pictures.resolution import take_back

RGB = np.uint8(255 * picture(300, 40))
ALPHA = np.uint8(np.linspace(0, 255, 300 * 40).reshape(300, 40))


def saved(path, image, **options):
    image.save(path, **options)
    return path


def agree(path, folder, long_side=0, atol=0.51 / 255):
    whole = images.read(path)
    shape = images.fitted(whole.rgb.shape[:2], long_side)
    whole = images.resize(whole, shape)
    assert images.upright_shape(path) == images.read(path).rgb.shape[:2]
    found = strips.read(path, folder, long_side)
    assert found.size == whole.size
    np.testing.assert_allclose(found.rgb.read(slice(None)), whole.rgb, atol=atol)
    assert (found.alpha is None) == (whole.alpha is None)
    if whole.alpha is not None:
        np.testing.assert_allclose(found.alpha.read(slice(None))[..., 0], whole.alpha, atol=atol)
    assert found.icc_profile == whole.icc_profile
    assert (found.metadata, found.depth, found.frames) == (whole.metadata, whole.depth, whole.frames)
    return found, whole


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_reading_and_writing_agree_with_pillow(tmp_path, suffix):
    path = saved(tmp_path / f"in{suffix}", Image.fromarray(RGB))
    found, whole = agree(path, tmp_path)
    strips.write(tmp_path / f"a{suffix}", found, tmp_path)
    images.write(tmp_path / f"b{suffix}", whole)
    a, b = (images.read(tmp_path / f"{name}{suffix}").rgb for name in "ab")
    np.testing.assert_allclose(a, b, atol=1.5 / 255 if suffix in (".jpg", ".webp") else 1e-6)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    agree(saved(tmp_path / "in.jpg", Image.fromarray(RGB), exif=exif, quality=95), tmp_path)


def with_late(data, kind, value):
    """A PNG's bytes with a further chunk after its pixels."""
    chunk = struct.pack(">I", len(value)) + kind + value + struct.pack(">I", zlib.crc32(kind + value))
    assert data[-8:-4] == b"IEND"
    return data[:-12] + chunk + data[-12:]


def xmp_that_turns(orientation):
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation


@pytest.mark.parametrize("place", ["EXIF", "XMP"])
@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
def test_what_a_png_says_after_its_pixels_holds(tmp_path, place, deep):
    """As ExifTool writes XMP."""
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Camera"
    late = (b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp_that_turns(6))
    late = (b"eXIf", exif.tobytes()[6:]) if place == "EXIF" else late
    pixels = pyvips.Image.new_from_array(RGB.astype(np.uint16) * 257 if deep else RGB)
    data = pixels.copy(interpretation="rgb16" if deep else "srgb").write_to_buffer(".png", keep="none")
    (tmp_path / "in.png").write_bytes(with_late(data, *late))
    found, _ = agree(tmp_path / "in.png", tmp_path, atol=1e-6)
    np.testing.assert_allclose(found.rgb.read(slice(None)), np.rot90(RGB, -1) / 255, atol=1e-6)
    if place == "EXIF":
        kept = Image.Exif()
        kept.load(found.metadata.exif)
        assert dict(kept) == {271: "Camera"}
    else:
        assert found.metadata.xmp == xmp_that_turns(6)


def test_a_broken_block_after_the_pixels_is_none(tmp_path):
    saved(tmp_path / "in.png", Image.fromarray(RGB))
    whole = (tmp_path / "in.png").read_bytes()
    for late in ((b"eXIf", b"nothing of the kind"), (b"tEXt", b"transparency" + bytes(1) + b"7")):
        (tmp_path / "in.png").write_bytes(with_late(whole, *late))
        found = strips.read(tmp_path / "in.png", tmp_path)
        assert (found.metadata.exif, found.metadata.xmp, found.alpha) == (None, None, None)


def test_a_block_after_the_pixels_with_a_wrong_checksum_turns_nobody(tmp_path):
    """Pillow takes it without a look at that, once it has decoded the pixels."""
    exif = Image.Exif()
    exif[274] = 6
    saved(tmp_path / "in.png", Image.fromarray(RGB))
    data = bytearray(with_late((tmp_path / "in.png").read_bytes(), b"eXIf", exif.tobytes()[6:]))
    data[-13] ^= 1
    (tmp_path / "in.png").write_bytes(data)
    agree(tmp_path / "in.png", tmp_path, atol=1e-6)


@pytest.mark.parametrize("orientation", [3, 6])
def test_xmp_turns_a_photo_that_exif_does_not(tmp_path, orientation):
    agree(saved(tmp_path / "in.jpg", Image.fromarray(RGB), xmp=xmp_that_turns(orientation), quality=95), tmp_path)


def test_the_pixels_of_a_png_are_read_by_strips_alone(tmp_path, monkeypatch):
    """Pillow decodes a PNG without EXIF, whole, when it is asked for EXIF."""
    path = saved(tmp_path / "in.png", Image.fromarray(RGB))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda image: pytest.fail("Pillow decodes it"))
    assert images.upright_shape(path) == (300, 40)
    np.testing.assert_array_equal(strips.read(path, tmp_path).rgb.read(slice(None)), np.float32(RGB) / 255)


def test_alpha_profiles_grey_and_16_bits(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgba = Image.fromarray(np.dstack([RGB, ALPHA]))
    found, whole = agree(saved(tmp_path / "a.png", rgba, icc_profile=profile), tmp_path)
    strips.write(tmp_path / "out.png", found, tmp_path)
    again = images.read(tmp_path / "out.png")
    np.testing.assert_allclose(again.alpha, whole.alpha, atol=1e-6)
    assert again.icc_profile == profile
    strips.write(tmp_path / "a.jpg", found, tmp_path)
    images.write(tmp_path / "b.jpg", whole)
    np.testing.assert_allclose(*(images.read(tmp_path / f"{n}.jpg").rgb for n in "ab"), atol=3 / 255)
    agree(saved(tmp_path / "grey.png", Image.fromarray(ALPHA)), tmp_path)
    deep = np.uint16(np.linspace(0, 65535, 300 * 40).reshape(300, 40))
    agree(saved(tmp_path / "deep.png", Image.fromarray(deep)), tmp_path)


@pytest.mark.parametrize("long_side", [299, 1201])
def test_resizing_agrees_with_pillow(tmp_path, long_side):
    large = np.dstack([np.uint8(255 * picture(900, 40)), np.uint8(255 * picture(900, 40, 1))[..., 0]])
    agree(saved(tmp_path / "in.png", Image.fromarray(large)), tmp_path, long_side)


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".ppm", ".jp2", ".avif"])
def test_all_formats_are_read(tmp_path, suffix):
    agree(saved(tmp_path / f"in{suffix}", Image.fromarray(RGB)), tmp_path)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("CMYK", ".jpg"), ("CMYK", ".tif"), ("P", ".png"), ("LA", ".png"), ("1", ".tif")]
)
def test_whatever_pixels_are_made_of_both_readers_agree(tmp_path, mode, suffix):
    agree(saved(tmp_path / f"in{suffix}", Image.fromarray(RGB).convert(mode)), tmp_path, atol=1e-6)


@pytest.mark.parametrize("compression", ["zstd", "lzma"])
def test_tiffs_that_libvips_cannot_unpack_are_not_black(tmp_path, compression):
    path = saved(tmp_path / "in.tif", Image.fromarray(RGB), compression=compression)
    np.testing.assert_array_equal(agree(path, tmp_path)[0].rgb.read(slice(None)), np.float32(RGB) / 255)


def test_sixteen_bits_and_metadata_go_through(tmp_path):
    import pyvips

    deep = np.random.default_rng(0).integers(0, 65536, (300, 40, 3)).astype(np.uint16)
    pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").write_to_file(str(tmp_path / "in.png"))
    found, _ = agree(tmp_path / "in.png", tmp_path, atol=1e-6)
    strips.write(tmp_path / "out.png", found, tmp_path)
    np.testing.assert_array_equal(pyvips.Image.new_from_file(str(tmp_path / "out.png")).numpy(), deep)
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Camera"
    found, _ = agree(saved(tmp_path / "in.jpg", Image.fromarray(RGB), exif=exif, dpi=(300, 300)), tmp_path)
    strips.write(tmp_path / "out.jpg", found, tmp_path)
    written = Image.open(tmp_path / "out.jpg")
    assert (written.getexif().get(274, 1), written.getexif()[271]) == (1, "Camera")
    assert written.info["dpi"] == pytest.approx((300, 300), rel=1e-3)
    images.write(tmp_path / "rough.jpg", images.read(tmp_path / "in.jpg"), 20)
    strips.write(tmp_path / "rough_too.jpg", found, tmp_path, 20)
    sizes = [(tmp_path / name).stat().st_size for name in ("rough.jpg", "rough_too.jpg", "out.jpg")]
    assert max(sizes[:2]) < sizes[2] / 2


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_what_a_file_does_not_say_is_not_made_up(tmp_path, suffix):
    """By libvips: an EXIF block, and dots per inch."""
    found = strips.read(saved(tmp_path / "in.png", Image.fromarray(RGB)), tmp_path)
    strips.write(tmp_path / f"large{suffix}", found, tmp_path)
    images.write(tmp_path / f"deep{suffix}", images.Picture(picture(4, 5), depth=16))
    for name in ("large", "deep"):
        written = Image.open(tmp_path / f"{name}{suffix}")
        assert "dpi" not in written.info
        assert images.read(tmp_path / f"{name}{suffix}").metadata.dpi is None
        assert suffix == ".tif" or not written.getexif()
    if suffix in (".png", ".tif"):
        pixels = pyvips.Image.new_from_file(str(tmp_path / f"large{suffix}"), fail_on="warning").numpy()
        np.testing.assert_array_equal(pixels, RGB)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_beside_exif_a_resolution_is_kept_and_none_made_up(tmp_path, suffix):
    exif = Image.Exif()
    exif[271] = "Camera"
    for dpi in ((300, 200), None):
        said = Metadata(exif.tobytes(), dpi=dpi)
        images.write(tmp_path / f"out{suffix}", images.Picture(picture(4, 5), metadata=said, depth=16))
        written = Image.open(tmp_path / f"out{suffix}")
        assert suffix == ".tif" or written.getexif()[271] == "Camera"
        assert written.info.get("dpi") == (pytest.approx(dpi, rel=1e-3) if dpi else None)


def test_of_a_big_tiff_too_the_unit_is_taken_back():
    file = io.BytesIO(pyvips.Image.new_from_array(RGB).write_to_buffer(".tif", bigtiff=True))
    assert "dpi" in Image.open(file).info
    take_back(file)
    assert "dpi" not in Image.open(file).info
    np.testing.assert_array_equal(np.asarray(Image.open(file)), RGB)


def test_bad_files_are_refused(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.png is not a picture"):
        strips.read(tmp_path / "text.png", tmp_path)
    whole = saved(tmp_path / "whole.png", Image.fromarray(RGB)).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.png cannot be read as a picture"):
        strips.read(tmp_path / "half.png", tmp_path)


@pytest.mark.parametrize(
    ("suffix", "options", "junk"),
    [(".jpg", {}, b"\xff\xc4" * 20), (".tif", {"compression": "tiff_lzw"}, bytes(200))],
    ids=["markers among a JPEG's pixels", "zeros among a TIFF's"],
)
def test_damaged_pictures_are_refused_not_half_blank(tmp_path, suffix, options, junk):
    data = saved(tmp_path / f"whole{suffix}", Image.fromarray(RGB), **options).read_bytes()
    middle = len(data) // 2
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(data[:middle] + junk + data[middle + len(junk) :])
    for read in (images.read, lambda path: strips.read(path, tmp_path)):
        with pytest.raises(ValueError, match=rf"bad\{suffix} cannot be read as a picture"):
            read(path)


def test_faults_that_cost_no_pixel_are_none(tmp_path):
    """Bytes before a marker, which libjpeg passes over and warns of."""
    data = saved(tmp_path / "whole.jpg", Image.fromarray(RGB)).read_bytes()
    scan = data.index(b"\xff\xda")
    (tmp_path / "in.jpg").write_bytes(data[:scan] + bytes(2) + data[scan:])
    agree(tmp_path / "in.jpg", tmp_path)


def test_of_a_jpeg_with_a_fault_pillow_makes_a_small_picture(tmp_path, monkeypatch):
    """Of its pixels, that is: all of its data is looked at."""
    data, sizes = saved(tmp_path / "whole.jpg", Image.fromarray(RGB)).read_bytes(), []
    scan = data.index(b"\xff\xda")
    (tmp_path / "in.jpg").write_bytes(data[:scan] + bytes(2) + data[scan:])
    real = JpegImagePlugin.JpegImageFile.load
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", lambda image: sizes.append(image.size) or real(image))
    found = strips.read(tmp_path / "in.jpg", tmp_path)
    assert sizes == [(5, 38)]
    whole = strips.read(tmp_path / "whole.jpg", tmp_path)
    np.testing.assert_array_equal(found.rgb.read(slice(None)), whole.rgb.read(slice(None)))


def test_nothing_is_left_of_a_picture_that_cannot_be_written(tmp_path, monkeypatch):
    found = strips.read(saved(tmp_path / "in.png", Image.fromarray(RGB)), tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="must end in one of"):
        strips.write(tmp_path / "out" / "a.xyz", found, tmp_path)
    wide = strips.LargePicture(Canvas.create(tmp_path / "wide.raw", (1, 70000, 3)))
    with pytest.raises(ValueError, match="holds 65500 at most"):
        strips.write(tmp_path / "out" / "a.jpg", wide, tmp_path)

    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        strips.write(tmp_path / "out" / "a.png", found, tmp_path)
    assert list((tmp_path / "out").iterdir()) == []
