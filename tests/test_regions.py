"""Regions, against NumPy and against pictures stylized whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from conftest import picture

from uwct import Region, between, encode_style, stylize, synthesize
from uwct.pipeline.parts import corner_shares, shares_of
from uwct.transforms.matching import monge

CONTENT, STYLE, OTHER = picture(37, 45, 1), picture(40, 33, 2), picture(30, 30, 3)
LEFT = np.float32(np.broadcast_to(np.arange(45) < 20, (37, 45)))


def close(a, b, tolerance=2e-4):
    np.testing.assert_allclose(a, b, atol=tolerance)


@pytest.mark.parametrize("mask", [None, np.ones((37, 45))])
def test_one_region_that_covers_all_is_no_region(tiny_model, mask):
    found = stylize(tiny_model, CONTENT, [Region(mask, STYLE, alpha=[0.8, 0.5])], (3, 1), transform=monge)
    close(found, stylize(tiny_model, CONTENT, STYLE, (3, 1), [0.8, 0.5], transform=monge))


def test_each_region_takes_on_its_styles_statistics(tiny_model):
    """Level 1, where a mask's pixels are features: each side's own whitening and coloring, in NumPy."""
    content, left = CONTENT[:32, :32], LEFT[:32, :32]  # sides that need no padding
    features = np.asarray(tiny_model.encode(content, 1)[-1], np.float64)
    mapped = features.copy()
    for inside, style in ((left > 0, STYLE), (left == 0, OTHER)):
        target = np.asarray(tiny_model.encode(style, 1)[-1], np.float64)
        mapped[inside] = reference.wct(features[inside][None], target, 1e-6)[0]
    expected = tiny_model.decode(jnp.float32(0.3 * features + 0.7 * mapped), 1)
    regions = [Region(left, STYLE, alpha=0.7), Region(1 - left, OTHER, alpha=0.7)]
    close(stylize(tiny_model, content, regions, (1,)), expected, 1e-3)
    rest = [Region(left, STYLE, alpha=0.7), Region(None, [OTHER, STYLE], weights=[1, 0], alpha=0.7)]
    close(stylize(tiny_model, content, rest, (1,)), expected, 1e-3)


def test_what_has_no_style_keeps_its_pixels(tiny_model):
    untouched = stylize(tiny_model, CONTENT, [Region(LEFT, STYLE)], (2, 1))
    np.testing.assert_allclose(untouched[:, 20:], CONTENT[:, 20:], atol=1e-6)
    assert np.abs(untouched[:, :20] - CONTENT[:, :20]).min(0).max() > 0.01
    close(stylize(tiny_model, CONTENT, [Region(1 - LEFT), Region(None, STYLE)], (2, 1)), untouched)


def test_masks_that_overlap_are_divided_by_their_sum_and_the_rest_is_one_more():
    masks = np.float32([[[1, 1, 0.5, 0]], [[0, 1, 0.25, 0]]])
    np.testing.assert_allclose(
        np.stack(shares_of(list(masks)))[:, 0], [[1, 0.5, 0.5, 0], [0, 0.5, 0.25, 0], [0, 0, 0.25, 1]]
    )


class Held:
    """As PyTorch's tensors, or Pillow's pictures."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


@pytest.mark.parametrize("form", [np.ndarray.tolist, jnp.asarray, np.bool_, Held])
def test_a_mask_may_be_whatever_numpy_takes(form):
    left = np.float32([[1, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(np.stack(shares_of([form(left)])), [left, 1 - left])


@pytest.mark.parametrize("pixels", [0, 1, 2])
@pytest.mark.parametrize("level", [1, 3])
def test_empty_and_tiny_regions_are_finite_and_change_nothing_elsewhere(tiny_model, pixels, level):
    mask = np.zeros((37, 45), np.float32)
    mask[5, 7 : 7 + pixels] = 1
    found = stylize(tiny_model, CONTENT, [Region(mask, STYLE), Region(None, OTHER)], (level,))
    alone = stylize(tiny_model, CONTENT, OTHER, (level,))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[30:, 30:], alone[30:, 30:], atol=0.02)
    if not pixels:
        close(found, alone)

    def loss(content):
        return stylize(tiny_model, content, [Region(mask, STYLE), Region(None, OTHER)], (level,)).sum()

    assert np.isfinite(jax.grad(loss)(jnp.asarray(CONTENT))).all()


def test_shares_between_corners_sum_to_1_and_are_1_at_their_own():
    four = corner_shares(4, 3, 5)
    np.testing.assert_allclose(four[:, [0, 0, 2, 2], [0, 4, 0, 4]], np.eye(4))
    np.testing.assert_allclose(four[:, 1, 2], [0.25] * 4)
    np.testing.assert_allclose(corner_shares(2, 2, 3), [[[1, 0.5, 0]] * 2, [[0, 0.5, 1]] * 2])
    with pytest.raises(ValueError, match="between two or four styles, not 3"):
        corner_shares(3, 2, 2)


def test_a_texture_between_styles_is_noise_with_a_gradient_of_regions(tiny_model):
    key, ramp = jax.random.key(3), np.float32(np.broadcast_to(np.arange(20) / 19, (16, 20)))
    found = synthesize(tiny_model, between([STYLE, OTHER], 16, 20), (16, 20), key, (2, 1), 0.9, passes=2)
    expected = jax.random.uniform(key, (16, 20, 3))
    for _ in range(2):
        regions = [Region(1 - ramp, STYLE, alpha=0.9), Region(ramp, OTHER, alpha=0.9)]
        expected = stylize(tiny_model, expected, regions, (2, 1))
    close(found, expected, 1e-3)


def test_regions_work_under_jit_and_in_float64(tiny_model):
    regions = [
        Region(jnp.asarray(LEFT), encode_style(tiny_model, STYLE)),
        Region(None, encode_style(tiny_model, OTHER)),
    ]
    direct = stylize(tiny_model, CONTENT, regions, (2, 1))
    jitted = jax.jit(lambda model, x, r: stylize(model, x, r, (2, 1)))(tiny_model, CONTENT, regions)
    close(jitted, direct, 1e-3)
    close(stylize(tiny_model, CONTENT, regions, (2, 1), precision="float64"), direct, 1e-3)


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ([Region(LEFT[1:], STYLE)], "a mask must have the picture's shape"),
        ([Region(None, STYLE), Region(None, OTHER)], "only one region can be without a mask"),
        ([Region(LEFT)], "at least one region needs a style"),
        ([], "at least one style is needed"),
        ([Region(LEFT, STYLE), STYLE], "give regions or styles, not both in one list"),
        ([Region(LEFT, STYLE, alpha=[0.1, 0.2, 0.3])], "alpha must be one number or one for each"),
    ],
)
def test_what_does_not_fit_is_refused(tiny_model, regions, words):
    with pytest.raises(ValueError, match=words):
        stylize(tiny_model, CONTENT, regions, (2, 1))
