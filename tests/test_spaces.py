"""Color spaces: colors by their published values, and by another library."""

import io
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import ImageCms

from tests.conftest import picture
from uwct.cli.grid import main as grid
from uwct.cli.style import main as style
from uwct.cli.stylize import main as stylize
from uwct.cli.texture import main as texture
from uwct.pictures import images
from uwct.pictures.spaces import in_space, own_space, srgb
from uwct.pipeline.style_pool import style_of


@pytest.fixture(scope="module")
def p3() -> bytes:
    """The profile of Display P3."""
    return pyvips.Operation.call("profile_load", "p3")


def description(profile):
    return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()


def test_the_red_of_srgb_in_display_p3_and_back(p3):
    red = images.Picture(np.float32([[[1, 0, 0]]]))
    found = in_space(red, p3)
    np.testing.assert_allclose(found.rgb[0, 0], [0.9175, 0.2003, 0.1386], atol=3 / 255)  # as CSS Color 4 has it
    assert found.icc_profile == p3
    np.testing.assert_allclose(in_space(found).rgb, red.rgb, atol=3 / 255)
    assert in_space(found).icc_profile is None


def test_another_library_converts_alike(p3):
    rgb = picture(24, 32)
    image = pyvips.Image.new_from_array(np.uint8(np.round(rgb * 255))).copy(interpretation="srgb")
    theirs = image.icc_transform("p3", input_profile="srgb", intent="relative").numpy() / 255
    np.testing.assert_allclose(in_space(images.Picture(rgb), p3).rgb, theirs, atol=3 / 255)


def test_profiles_of_srgb_and_broken_ones_change_nothing(p3):
    rgb = picture(8, 8)
    for profile in (None, srgb(), b"broken", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()):
        assert own_space(profile) is None
        np.testing.assert_array_equal(in_space(images.Picture(rgb, icc_profile=profile)).rgb, rgb)
    assert own_space(p3) == p3


MODEL = ["--model", "tiny.safetensors", "--levels", "2", "1"]


@pytest.mark.parametrize("words", [["--tile", "off"], ["--tile", "32"]])
def test_a_style_of_another_space_than_the_photo_paints_as_it_looks(folder, p3, words):
    """One picture, in sRGB and in Display P3, is one style, up to 8 bits."""
    plain = images.Picture(picture(48, 48, 3))
    images.write("plain.png", plain)
    images.write("wide.png", in_space(plain, p3))
    images.write("untagged.png", images.Picture(in_space(plain, p3).rgb))
    made = []
    for name in ("plain", "wide", "untagged"):
        stylize(["--content", "photo.jpg", "--style", f"{name}.png", "--output", "out.png", *MODEL, *words])
        made.append(images.read("out.png").rgb)
    by_plain, by_wide, by_untagged = made
    assert np.abs(by_wide - by_plain).mean() <= 0.2 * np.abs(by_untagged - by_plain).mean()


def test_the_styles_of_data_sets_are_of_srgb(folder, p3, tiny_model):
    plain = images.Picture(picture(48, 48, 3))
    images.write("plain.png", plain)
    images.write("wide.png", in_space(plain, p3))
    images.write("untagged.png", images.Picture(in_space(plain, p3).rgb))
    by_plain, by_wide, by_untagged = (
        np.asarray(style_of(Path(f"{name}.png"), tiny_model, 0).moments[1].mean)
        for name in ("plain", "wide", "untagged")
    )
    assert np.abs(by_wide - by_plain).max() < 0.2 * np.abs(by_untagged - by_plain).max()


def test_styles_take_on_the_space_of_the_photo(folder, p3, capsys):
    photo = images.read("photo.jpg")
    images.write("wide.png", images.Picture(photo.rgb, icc_profile=p3))
    images.write("moved.png", images.Picture(in_space(images.read("a.png"), p3).rgb))
    stylize(["--content", "wide.png", "--style", "a.png", "--output", "out.png", *MODEL])
    stylize(["--content", "photo.jpg", "--style", "moved.png", "--output", "same.png", *MODEL])
    np.testing.assert_allclose(images.read("out.png").rgb, images.read("same.png").rgb, atol=4 / 255)
    assert images.read("out.png").icc_profile == p3
    style(["save", "a.png", "--output", "a.safetensors", "--model", "tiny.safetensors"])
    capsys.readouterr()
    stylize(["--content", "wide.png", "--style", "a.safetensors", "--output", "out.png", *MODEL])
    assert "a.safetensors is of sRGB, the photo not" in capsys.readouterr().err


def test_textures_and_sheets_say_that_they_are_of_srgb(folder, p3):
    images.write("wide.png", images.Picture(np.ones((32, 32, 3), np.float32) * [1, 0, 0], icc_profile=p3))
    texture(["--style", "a.png", "--size", "32", "--output", "texture.png", *MODEL])
    grid(["--contents", "wide.png", "--styles", "a.png", "--size", "32", "--output", "grid.png", *MODEL])
    for name in ("texture.png", "grid.png"):
        assert "sRGB" in description(images.read(name).icc_profile)
    assert images.read("grid.png").icc_profile == srgb() == srgb.__wrapped__()
