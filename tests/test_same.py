"""The same inputs give the same result: to the byte on one computer, to rounding after changes of kernels or JAX."""

from pathlib import Path

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from PIL import Image

import uwct
from uwct.cli import stylize
from uwct.pipeline.frames import stylize_frames
from uwct.pipeline.styles import stack_styles


@pytest.fixture(scope="module")
def computed():
    return golden.numbers()


def test_every_golden_number_is_computed(computed):
    assert set(computed) == set(np.load(golden.PATH))


@pytest.mark.parametrize("name", np.load(golden.PATH))
def test_results_in_float32_are_what_they_were(computed, name):
    expected = np.load(golden.PATH)[name]
    np.testing.assert_allclose(computed[name], expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("words", [(), ("--dtype", "float32", "--transform", "wct", "--shrinkage", "0")])
def test_a_picture_is_the_same_to_the_byte_alone_and_among_others(folder, words):
    Path("photos").mkdir()
    for name, seed in (("a.png", 5), ("b.png", 6), ("c.png", 7)):  # c has b's shape, so shares its programs
        size = (30, 22) if name == "a.png" else (26, 34)
        Image.fromarray(np.uint8(255 * picture(*size, seed))).save(f"photos/{name}")
    Path("out").mkdir()
    common = ("--style", "a.png", "--levels", "3", "2", "1", "--model", "tiny.safetensors", *words)
    stylize.main(["--content", "photos", "--output", "out", *common])
    for name in ("c.png", "a.png", "b.png"):
        stylize.main(["--content", f"photos/{name}", "--output", f"alone_{name}", *common])
        assert Path(f"alone_{name}").read_bytes() == Path(f"out/{name}").read_bytes()


def test_what_shares_a_batch_changes_no_bit(tiny_model):
    styles = stack_styles([uwct.encode_style(tiny_model, picture(20, 20, seed)) for seed in (1, 2)])
    key, first = jax.random.key(4), picture(16, 24, 3)
    batches = [jnp.stack([first, picture(16, 24, seed)]) for seed in (8, 9)]
    results = [np.asarray(uwct.augment(key, tiny_model, batch, styles, levels=(3, 1))) for batch in batches]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert np.abs(results[0][1] - results[1][1]).max() > 0.01


def test_frames_of_a_batch_that_was_filled_up_are_those_of_a_full_one(tiny_model):
    """Batches have one size: the last is filled up, with what changes nothing."""
    frames = [picture(16, 24, seed) for seed in range(6)]
    style = uwct.encode_style(tiny_model, picture(20, 20, 9))

    def run(count):
        found = stylize_frames(tiny_model, frames[:count], style, (2, 1), 0.6, temporal=0.0, batch=3)
        return [np.asarray(frame) for frame in found]

    for short, full in zip(run(4), run(6), strict=False):
        np.testing.assert_array_equal(short, full)
