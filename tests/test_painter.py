"""What is behind the page of `uwct web`, without it; test_web.py compares it with the command."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from PIL import Image

import uwct
from uwct.cli.encoding import encode_file
from uwct.cli.painter import Painter, Wish
from uwct.pictures import images
from uwct.pipeline.colors import LUMA

PHOTO, STYLE = Path("photo.jpg"), Path("a.png")  # of the fixture `folder`


@pytest.fixture
def painter(folder, tiny_model):
    return Painter(tiny_model, 0)


def test_what_is_painted_over_keeps_its_very_pixels_whatever_the_size_of_the_mask(painter):
    photo = images.read(PHOTO).rgb
    left = np.zeros((42, 66))
    left[:, :33] = 1
    kept = painter.paint(Wish(PHOTO, {STYLE: 1}, {1: 1}, painted=left)).rgb
    others = painter.paint(Wish(PHOTO, {STYLE: 1}, {1: 1}, painted=left, keep_painted=False)).rgb
    np.testing.assert_allclose(kept[:, :15], photo[:, :15], atol=1e-6)
    np.testing.assert_allclose(others[:, 18:], photo[:, 18:], atol=1e-6)
    assert np.abs(kept - photo)[:, 18:].mean() > 0.02
    assert np.abs(others - photo)[:, :15].mean() > 0.02


def test_nothing_painted_over_is_the_whole_photo(painter):
    whole = painter.paint(Wish(PHOTO, {STYLE: 1}, {1: 1}))
    for keep in (True, False):
        empty = painter.paint(Wish(PHOTO, {STYLE: 1}, {1: 1}, painted=np.zeros((4, 4)), keep_painted=keep))
        np.testing.assert_array_equal(empty.rgb, whole.rgb)


def test_colors_are_kept(painter):
    photo = images.read(PHOTO).rgb
    light = painter.paint(Wish(PHOTO, {STYLE: 1}, {1: 1}, "luminance")).rgb - photo
    np.testing.assert_allclose(light, np.repeat(light @ np.float32(LUMA)[:, None], 3, -1), atol=1e-5)
    plain, matched = (painter.paint(Wish(PHOTO, {STYLE: 1}, {1: 1}, how)).rgb for how in (None, "matched"))
    assert np.abs(matched - plain).mean() > 0.02


def test_size_is_the_largest_long_side_and_enlarges_nothing(tiny_model, folder):
    assert Painter(tiny_model, 16).paint(Wish(PHOTO, {STYLE: 1}, {1: 1})).size == "16x10"
    assert Painter(tiny_model, 512).fitted(PHOTO).size == "33x21"


def test_refining_shows_the_picture_on_its_way_and_ends_as_the_library(painter, tiny_model, tiny_vgg, monkeypatch):
    monkeypatch.setattr("uwct.cli.painter.REFINE_STEPS", 3)
    stages = [
        (stage.done, stage.total, stage.picture().rgb)
        for stage in painter.stages(Wish(PHOTO, {STYLE: 1}, {2: 0.5}, refine=True))
    ]
    assert [stage[:2] for stage in stages] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    plain = painter.paint(Wish(PHOTO, {STYLE: 1}, {2: 0.5})).rgb
    np.testing.assert_array_equal(stages[0][2], plain)
    style = encode_file(STYLE, tiny_model, 512, vgg=tiny_vgg)
    photo = jnp.asarray(images.read(PHOTO).rgb)
    expected = uwct.refine(tiny_model, tiny_vgg, jnp.asarray(plain), photo, style, (2,), (0.5,), steps=3)
    np.testing.assert_allclose(stages[3][2], expected, atol=1e-4)
    kept = painter.paint(Wish(PHOTO, {STYLE: 1}, {2: 0.5}, painted=np.eye(4), refine=True)).rgb
    assert np.isfinite(kept).all()


def test_transparency_stays(painter):
    pixels = np.uint8(255 * np.dstack([picture(20, 30), np.linspace(0, 1, 30) * np.ones((20, 1))]))
    Image.fromarray(pixels).save("clear.png")
    alpha = painter.paint(Wish(Path("clear.png"), {STYLE: 1}, {1: 1})).alpha
    np.testing.assert_allclose(alpha, pixels[..., 3] / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("styles", "strengths", "sentence"),
    [
        ({}, {1: 1}, "Choose a style first"),
        ({STYLE: -0.5}, {1: 1}, "The share of a must lie between 0 and 1, not -0.5"),
        ({STYLE: 0}, {1: 1}, "The shares of the styles must not all be 0"),
        ({STYLE: 1}, {1: 1, 3: 1.5}, "The strength of level 3 must lie between 0 and 1, not 1.5"),
        ({STYLE: 1}, {1: float("nan")}, "The strength of level 1 must lie between 0 and 1, not nan"),
        ({STYLE: 1}, {1: 0, 2: 0}, "All strengths are 0"),
    ],
)
def test_bad_wishes_are_one_sentence(painter, styles, strengths, sentence):
    with pytest.raises(ValueError, match=sentence):
        painter.paint(Wish(PHOTO, styles, strengths))


def test_a_photo_too_large_for_memory_is_refused(painter, monkeypatch):
    monkeypatch.setattr("uwct.cli.sizes.free_memory", lambda: 1000)
    with pytest.raises(ValueError, match=r"photo\.jpg at 33x21 pixels needs about .* --size"):
        painter.paint(Wish(PHOTO, {STYLE: 1}, {1: 1}))


def test_a_photograph_stays_one(painter, tiny_model):
    wish = Wish(PHOTO, {STYLE: 1}, {2: 0.5, 1: 0.6}, photographic=True)
    found = painter.paint(wish).rgb
    photo, style = painter.fitted(PHOTO).rgb, encode_file(STYLE, tiny_model, 512)
    how = {"transform": uwct.monge, "shrinkage": 0.3}
    expected = uwct.stylize_photo(tiny_model, jnp.asarray(photo), style, (2, 1), (0.5, 0.6), **how)
    np.testing.assert_allclose(found, expected, atol=2e-3)
