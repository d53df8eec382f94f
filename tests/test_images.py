import io
import lzma
import os
import struct
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from conftest import picture
from PIL import Image, ImageCms, PngImagePlugin

from uwct.pictures import decoding, images

RGB = np.uint8(np.round(255 * picture(20, 30)))


def save(path, array_or_image, **options):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    image.save(path, **options)
    return path


@cache  # a profile holds the second in which it was made
def icc(name="sRGB"):
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def grey_icc():
    """What is not looked into beyond its header."""
    return icc()[:16] + b"GRAY" + icc()[20:]


@pytest.mark.parametrize(("suffix", "tolerance"), [("png", 0), ("tif", 0), ("webp", 25), ("jpg", 25), ("bmp", 0)])
def test_formats_are_read_as_rgb_in_zero_to_one(tmp_path, suffix, tolerance):
    found = images.read(save(tmp_path / f"p.{suffix}", RGB, quality=95))
    assert found.rgb.dtype == np.float32
    assert found.alpha is None
    assert found.size == "30x20"
    assert np.abs(found.rgb * 255 - RGB).max() <= tolerance + 1e-4


TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(
    ("suffix", "mode"), [("png", "RGB"), ("jpg", "RGB"), ("tif", "L"), ("tif", "RGBA"), ("tif", "RGB")]
)
def test_exif_orientation_is_honoured(tmp_path, orientation, suffix, mode):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255  # a white corner, at the top left
    image = Image.fromarray(upright).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image if TURNED[orientation] is None else image.transpose(TURNED[orientation])
    found = images.read(save(tmp_path / f"p.{suffix}", stored, exif=exif))
    np.testing.assert_allclose(found.rgb * 255, upright, atol=1e-4)


def broken_exif(orientation):
    """An EXIF block, by hand, whose other tags are of wrong types: a number as maker, a text as resolution."""
    float_of_make = struct.pack("<HHIf", 271, 11, 1, 2.5)
    of_orientation = struct.pack("<HHIHH", 274, 3, 1, orientation, 0)
    text_of_resolution = struct.pack("<HHI4s", 282, 2, 4, b"abc")
    entries = float_of_make + of_orientation + text_of_resolution
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 3) + entries + struct.pack("<I", 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_of_exif_only_the_orientation_must_be_readable(tmp_path, orientation, suffix):
    """What each value means: how the stored rows and columns lie (Exif 2.32, table 6)."""
    stored = np.zeros((16, 24, 3), np.uint8)
    stored[:8, :8] = 255  # the stored corner at row 0, column 0
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    path = save(tmp_path / f"p.{suffix}", Image.fromarray(stored), exif=broken_exif(orientation))
    found = images.read(path).rgb
    assert found.shape == ((24, 16, 3) if orientation > 4 else (16, 24, 3))
    assert [found[y, x].mean() > 0.9 for y in (2, -3) for x in (2, -3)].index(True) == 2 * corner[0] + corner[1]


def test_a_png_may_carry_megabytes_of_text(tmp_path):
    """Compressed, as editors write their XMP; also what comes behind the pixels."""
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "<x>" + 3_000_000 * "a", zip=True)
    path = save(tmp_path / "p.png", RGB, pnginfo=texts)
    data = path.read_bytes()
    program = "import sys, pathlib; from uwct.pictures import images; print(images.shape(pathlib.Path(sys.argv[1])))"
    found = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert found.stdout.split() == ["(20,", "30)"], found.stderr  # in a process that has read nothing before
    assert images.read(path).rgb.shape == (20, 30, 3)
    start = data.index(b"iTXt") - 4
    stop = start + 12 + int.from_bytes(data[start : start + 4])
    moved = data[:start] + data[stop:-12] + data[start:stop] + data[-12:]
    path.write_bytes(moved)
    assert images.read(path).rgb.shape == (20, 30, 3)


def test_folders_are_searched_through_links_but_not_in_circles(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    (elsewhere / "deep").mkdir(parents=True)
    folder.mkdir()
    for path in (elsewhere / "a.jpg", elsewhere / "deep" / "b.png", folder / "c.PPM"):
        path.write_bytes(b"")
    for name in ("one", "two"):  # two classes that lead to the same folder
        (folder / name).symlink_to(elsewhere)
    (elsewhere / "deep" / "back").symlink_to(folder)
    found = [path.relative_to(folder).as_posix() for path in images.pictures_in(folder, recursive=True)]
    assert found == ["c.PPM", "one/a.jpg", "one/deep/b.png", "two/a.jpg", "two/deep/b.png"]


def test_names_that_begin_with_a_dot_are_passed_over(tmp_path):
    (tmp_path / ".ipynb_checkpoints").mkdir()
    for name in ("cat.jpg", "._cat.jpg", ".ipynb_checkpoints/cat.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert images.pictures_in(tmp_path, recursive=True) == [tmp_path / "cat.jpg"]
    hidden = tmp_path / ".photos"  # unless it is what was asked for
    hidden.mkdir()
    (hidden / "a.png").write_bytes(b"")
    assert images.pictures_in(hidden) == [hidden / "a.png"]


def test_folders_give_every_format_that_single_files_may_have():
    formats = decoding.formats()
    registered = {suffix for suffix, kind in Image.registered_extensions().items() if kind in formats}
    assert registered == images.READABLE


def test_garbage_in_place_of_exif_does_not_stop_a_picture(tmp_path):
    for i, exif in enumerate((b"Exif\0\0garbage", b"0123456789")):
        found = images.read(save(tmp_path / f"{i}.png", RGB, exif=exif))
        np.testing.assert_allclose(found.rgb * 255, RGB, atol=1e-4)


@pytest.mark.parametrize("profile", [icc, lambda: b"garbage"])
def test_profiles_that_do_not_fit_grey_pictures_are_passed_over(tmp_path, profile):
    found = images.read(save(tmp_path / "p.png", RGB[..., 0], icc_profile=profile()))
    np.testing.assert_allclose(found.rgb * 255, RGB[..., :1].repeat(3, -1), atol=1e-4)


def test_grey_tiffs_stored_as_negatives_are_turned_back(tmp_path):
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    save(tmp_path / "p.tif", values, tiffinfo={262: 0})
    with Image.open(tmp_path / "p.tif") as stored:
        assert stored.tag_v2[262] == 0
    np.testing.assert_allclose(images.read(tmp_path / "p.tif").rgb[..., 0], 1 - values / 65535, atol=1e-6)


def test_grey_pictures_become_three_equal_channels(tmp_path):
    found = images.read(save(tmp_path / "p.png", RGB[..., 0]))
    np.testing.assert_allclose(found.rgb * 255, RGB[..., :1].repeat(3, -1), atol=1e-4)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_keeps_its_depth(tmp_path, suffix):
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    found = images.read(save(tmp_path / f"p.{suffix}", values))
    np.testing.assert_allclose(found.rgb[..., 1], values / 65535, atol=1e-6)


def test_float_pictures_are_taken_as_they_are_and_refused_out_of_range(tmp_path):
    values = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    np.testing.assert_allclose(images.read(save(tmp_path / "p.tif", values)).rgb[..., 0], values)
    with pytest.raises(ValueError, match="its values run from 0 to 2, beyond 0 to 1"):
        images.read(save(tmp_path / "q.tif", 2 * values))


def test_palette_and_one_bit_pictures_are_expanded(tmp_path):
    palette = Image.fromarray(RGB).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_allclose(images.read(save(tmp_path / "p.png", palette)).rgb * 255, expected, atol=1e-4)
    bits = Image.fromarray(RGB).convert("1")
    found = images.read(save(tmp_path / "b.png", bits)).rgb
    np.testing.assert_array_equal(found[..., 0], np.asarray(bits))


def test_transparent_palettes_keep_their_transparency(tmp_path):
    palette = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    found = images.read(save(tmp_path / "p.png", palette, transparency=1))
    np.testing.assert_array_equal(found.alpha, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(found.rgb[0, 0], [1, 0, 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept_from_file_to_file(tmp_path, mode):
    alpha = np.uint8(np.linspace(0, 255, 600)).reshape(20, 30)
    image = Image.fromarray(RGB).convert(mode)
    image.putalpha(Image.fromarray(alpha))
    found = images.read(save(tmp_path / "p.png", image))
    np.testing.assert_allclose(found.alpha * 255, alpha, atol=1e-4)
    images.write(tmp_path / "q.png", found)
    with Image.open(tmp_path / "q.png") as again:
        assert again.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(again)[..., 3], alpha)


def test_jpeg_lays_transparent_pictures_on_white(tmp_path):
    found = images.Picture(np.zeros((16, 16, 3), np.float32), np.zeros((16, 16), np.float32))
    images.write(tmp_path / "p.jpg", found)
    assert np.asarray(Image.open(tmp_path / "p.jpg")).min() == 255


def test_cmyk_is_converted(tmp_path):
    image = Image.fromarray(RGB).convert("CMYK")
    found = images.read(save(tmp_path / "p.tif", image))
    np.testing.assert_allclose(found.rgb * 255, RGB, atol=1.01)
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert images.read(save(tmp_path / "q.jpg", red, quality=100)).rgb[4, 4].round(1).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_rgb_colour_profiles_are_kept(tmp_path, suffix):
    found = images.read(save(tmp_path / "p.png", RGB, icc_profile=icc()))
    assert found.icc_profile == icc()
    images.write(tmp_path / f"q.{suffix}", found)
    assert Image.open(tmp_path / f"q.{suffix}").info["icc_profile"] == icc()


def test_profiles_of_other_spaces_are_applied_not_attached_to_rgb(tmp_path):
    lab = ImageCms.profileToProfile(
        Image.fromarray(RGB), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    found = images.read(save(tmp_path / "p.tif", lab, icc_profile=icc("LAB")))
    assert found.icc_profile is None
    np.testing.assert_allclose(found.rgb * 255, RGB, atol=8)


def test_profiles_of_grey_are_not_kept_with_transparent_pictures_of_16_bits(tmp_path):
    """Grey and alpha, which Pillow opens as RGBA."""
    import pyvips

    deep = pyvips.Image.new_from_array(np.full((20, 30, 2), 30000, np.uint16)).copy(interpretation="grey16")
    deep.set_type(pyvips.GValue.blob_type, "icc-profile-data", grey_icc())
    deep.write_to_file(str(tmp_path / "p.png"))
    assert Image.open(tmp_path / "p.png").info["icc_profile"] == grey_icc()
    found = images.read(tmp_path / "p.png")
    assert found.icc_profile is None
    np.testing.assert_allclose(found.rgb, 30000 / 65535, atol=1e-6)


@pytest.mark.parametrize(("shape", "expected"), [((20, 30), (40, 60)), ((30, 20), (60, 40)), ((1, 200), (1, 60))])
def test_resizing_sets_the_long_side(shape, expected):
    original = images.Picture(np.full((*shape, 3), 0.4, np.float32), np.full(shape, 0.7, np.float32))
    assert images.fitted(original.rgb.shape[:2], 0) == shape
    assert images.fitted(original.rgb.shape[:2], 60) == expected
    found = images.resize(original, expected)
    assert found.rgb.shape == (*expected, 3)
    np.testing.assert_allclose(found.rgb, 0.4, atol=1e-5)
    np.testing.assert_allclose(found.alpha, 0.7, atol=1e-5)


def test_writing_clips_and_rounds(tmp_path):
    rgb = np.float32([[[-1, 0.5, 2], [0, 0.999, 0.001]]])
    images.write(tmp_path / "p.png", images.Picture(rgb))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "p.png")), [[[0, 128, 255], [0, 255, 0]]])


def truncated(tmp_path):
    data = io.BytesIO()
    Image.fromarray(np.tile(RGB, (9, 9, 1))).save(data, "JPEG")
    (tmp_path / "bad.jpg").write_bytes(data.getvalue()[: len(data.getvalue()) // 2])


BAD = {
    "missing": (lambda p: None, "there is no picture"),
    "text": (lambda p: (p / "bad.jpg").write_text("not a picture"), "not a picture"),
    "empty": (lambda p: (p / "bad.jpg").write_bytes(b""), "not a picture"),
    "folder": (lambda p: (p / "bad.jpg").mkdir(), "is a folder"),
    "truncated": (truncated, "cannot be read as a picture"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_in_one_sentence(tmp_path, name):
    prepare, message = BAD[name]
    prepare(tmp_path)
    with pytest.raises((ValueError, OSError), match=message) as error:
        images.read(tmp_path / "bad.jpg")
    assert str(tmp_path / "bad.jpg") in str(error.value)
    assert "\n" not in str(error.value)


def test_avifs_without_their_pixels_are_refused(tmp_path):
    data = save(tmp_path / "p.avif", RGB).read_bytes()
    start = data.index(b"mdat") + 4
    (tmp_path / "p.avif").write_bytes(data[:start] + bytes(len(data) - start))
    with pytest.raises(ValueError, match=r"p\.avif cannot be read as a picture: .*decode"):
        images.read(tmp_path / "p.avif")


@pytest.mark.parametrize("kind", [2, 5, 7, 11, 16], ids=["text", "ratio", "bytes", "float", "64 bits"])
def test_tiffs_whose_pixels_lie_at_what_is_no_number_are_refused(tmp_path, kind):
    data = bytearray(save(tmp_path / "p.tif", RGB).read_bytes())
    offset = data.index(struct.pack("<HHI", 273, 4, 1))
    data[offset + 2] = kind
    (tmp_path / "p.tif").write_bytes(data)
    with pytest.raises(ValueError, match=r"p\.tif cannot be read as a picture"):
        images.read(tmp_path / "p.tif")


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"too large: it has more than the limit of 0\.0002 million pixels"):
        images.read(save(tmp_path / "p.png", RGB))


def test_unknown_suffixes_are_refused_and_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end in one of \.png"):
        images.write(tmp_path / "p.xyz", images.Picture(picture(4, 4)))
    (tmp_path / "p.png").write_text("old")

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        images.write(tmp_path / "p.png", images.Picture(picture(4, 4)))
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_pictures_too_large_for_their_format_are_refused(tmp_path):
    wide = images.Picture(np.zeros((1, 16384, 3), np.float32))
    with pytest.raises(ValueError, match=r"out\.webp would be 16384x1 pixels; \.webp holds 16383 at most"):
        images.write(tmp_path / "out.webp", wide)
    assert not list(tmp_path.iterdir())
    images.write(tmp_path / "out.png", wide)
    assert Image.open(tmp_path / "out.png").size == (16384, 1)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_a_channel_stay_sixteen(tmp_path, suffix, channels):
    import pyvips

    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, channels)).astype(np.uint16)
    pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").write_to_file(str(tmp_path / f"in{suffix}"))
    picture = images.read(tmp_path / f"in{suffix}")
    assert picture.depth == 16
    np.testing.assert_allclose(picture.rgb, deep[..., :3] / 65535, atol=1e-7)
    images.write(tmp_path / f"out{suffix}", picture)
    written = pyvips.Image.new_from_file(str(tmp_path / f"out{suffix}")).numpy()
    np.testing.assert_array_equal(written, deep)
    images.write(tmp_path / "out.jpg", picture)  # which holds eight
    assert images.read(tmp_path / "out.jpg").depth == 8


def test_sixteen_bits_that_libvips_cannot_unpack_are_read_as_eight(tmp_path):
    """By hand: a TIFF of 16 bits a channel, compressed by LZMA."""
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype("<u2")
    data = lzma.compress(deep.tobytes())
    tags = [(256, 1, 30), (257, 1, 20), (258, 3, 8), (259, 1, 34925), (262, 1, 2), (273, 1, 14), (277, 1, 3)]
    tags += [(278, 1, 20), (279, 1, len(data))]
    block = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 3, *value) for tag, *value in tags)
    head = struct.pack("<2sHI3H", b"II", 42, 14 + len(data), 16, 16, 16)
    (tmp_path / "in.tif").write_bytes(head + data + block + bytes(4))
    found = images.read(tmp_path / "in.tif")
    assert found.depth == 8
    np.testing.assert_allclose(found.rgb, deep / 65535, atol=1 / 255)


def test_hidden_colors_do_not_fringe_what_is_seen_when_it_is_resized():
    rgb, alpha = np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.float32)
    rgb[..., 1], alpha[:, 20:40] = 1.0, 1.0  # bright green is hidden
    rgb[:, 20:40] = (0.5, 0.0, 0.0)
    small = images.resize(images.Picture(rgb, alpha), (17, 17))
    np.testing.assert_allclose(
        small.rgb[small.alpha > 0.01], np.broadcast_to((0.5, 0, 0), (int((small.alpha > 0.01).sum()), 3)), atol=0.02
    )


def test_heic_is_read_or_the_package_that_it_needs_is_named(tmp_path, monkeypatch):
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.fromarray(RGB).save(tmp_path / "in.heic", quality=100, chroma=444)
    np.testing.assert_allclose(images.read(tmp_path / "in.heic").rgb, RGB / 255, atol=0.1)
    monkeypatch.setattr(decoding, "formats", lambda: decoding.FORMATS)
    with pytest.raises(ValueError, match=r"in\.heic is a HEIC picture, which needs pillow-heif"):
        images.read(tmp_path / "in.heic")
    with pytest.raises(ValueError, match="pillow-heif"):
        images.shape(tmp_path / "in.heic")


def test_frames_are_counted(tmp_path):
    frames = [Image.fromarray(np.roll(RGB, i, 0)) for i in range(3)]
    frames[0].save(tmp_path / "in.webp", save_all=True, append_images=frames[1:])
    assert images.read(tmp_path / "in.webp").frames == 3
