"""Keeping colors, against Pillow's YCbCr and NumPy."""

import jax.numpy as jnp
import numpy as np
from conftest import picture
from PIL import Image

from uwct.pipeline.colors import keep_chroma, match_colors

A, B = picture(40, 50, 1), picture(40, 50, 2)


def test_luminance_is_of_the_one_and_chroma_of_the_other():
    mixed = 0.35 + 0.3 * A, 0.35 + 0.3 * B  # so that nothing leaves [0, 1]
    found = np.asarray(keep_chroma(*mixed))
    assert found.min() >= 0
    assert found.max() <= 1
    planes = [Image.fromarray(np.uint8(np.round(255 * x))).convert("YCbCr") for x in (found, *mixed)]
    found, luminance, chroma = (np.asarray(plane, float) for plane in planes)
    assert np.abs(found[..., 0] - luminance[..., 0]).max() <= 2
    assert np.abs(found[..., 1:] - chroma[..., 1:]).max() <= 2


def test_a_style_takes_on_the_contents_mean_and_covariance():
    narrow = 0.45 + 0.1 * B
    found = np.asarray(match_colors(jnp.asarray(A), jnp.asarray(narrow)), float).reshape(-1, 3)
    np.testing.assert_allclose(found.mean(0), narrow.reshape(-1, 3).mean(0), atol=1e-4)
    np.testing.assert_allclose(np.cov(found.T), np.cov(narrow.reshape(-1, 3).T), atol=1e-5)


def test_grey_pictures_have_no_colors_to_give():
    grey = np.repeat(A[..., :1], 3, -1)
    found = np.asarray(match_colors(jnp.asarray(A), jnp.asarray(grey)))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, found.mean(-1, keepdims=True) * np.ones(3), atol=2e-3)
