"""Random styles, against the pictures stylized one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture

from uwct import augment, encode_style, stylize
from uwct.pipeline.augment import draw

PICTURES = np.stack([picture(24, 32, seed) for seed in range(8)])


@pytest.fixture(scope="module")
def styles(tiny_model):
    return [encode_style(tiny_model, jnp.asarray(picture(30, 30, seed))) for seed in (20, 21, 22)]


def test_each_picture_is_in_one_of_the_styles_and_all_are_used(tiny_model, styles):
    found = augment(jax.random.key(1), tiny_model, PICTURES, styles, (0.7, 0.7), (2, 1))
    candidates = np.stack([np.clip(stylize(tiny_model, PICTURES, style, (2, 1), 0.7), 0, 1) for style in styles])
    distances = np.abs(candidates - found).max((2, 3, 4))
    assert distances.min(0).max() < 1e-3
    assert np.median(distances) > 0.05
    assert set(distances.argmin(0)) == {0, 1, 2}


def test_strengths_are_spread_over_their_range(tiny_model, styles):
    """At level 1 without a ReLU after it, what alpha adds is linear in it, so that it can be read off."""
    ends = [np.asarray(stylize(tiny_model, PICTURES, styles[0], (1,), a)) for a in (0.0, 1.0)]
    low, high = 0.2, 0.6
    inside = [(end > 0) & (end < 1) for end in ends]
    found = np.asarray(augment(jax.random.key(2), tiny_model, PICTURES, styles[:1], (low, high), (1,)))
    clear = inside[0] & inside[1] & (np.abs(ends[1] - ends[0]) > 0.05)
    drawn = [np.median(((f - a) / (b - a))[c]) for f, a, b, c in zip(found, *ends, clear, strict=True) if c.any()]
    assert len(drawn) > 3
    assert low - 1e-3 <= min(drawn) < max(drawn) <= high + 1e-3
    assert max(drawn) - min(drawn) > 0.1


def test_a_key_says_it_all_and_jit_changes_nothing(tiny_model, styles):
    draw = jax.jit(lambda key: augment(key, tiny_model, PICTURES, styles, levels=(1,)))
    first, again, other = draw(jax.random.key(3)), draw(jax.random.key(3)), draw(jax.random.key(4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.05
    np.testing.assert_allclose(first, augment(jax.random.key(3), tiny_model, PICTURES, styles, levels=(1,)), atol=1e-3)


def test_what_does_not_fit_is_refused(tiny_model, styles):
    with pytest.raises(ValueError, match="a batch of pictures is"):
        augment(jax.random.key(0), tiny_model, PICTURES[0], styles)
    with pytest.raises(ValueError, match="at least one style"):
        augment(jax.random.key(0), tiny_model, PICTURES, [])
    with pytest.raises(ValueError, match="mixed must be at least 1, not 0"):
        augment(jax.random.key(0), tiny_model, PICTURES, styles, mixed=0)
    with pytest.raises(ValueError, match="put one in a list"):
        augment(jax.random.key(0), tiny_model, PICTURES, styles[0])


def test_mixtures_are_drawn_for_each_picture(tiny_model, styles):
    key = jax.random.key(5)
    found = augment(key, tiny_model, PICTURES, styles, (0.7, 0.7), (2, 1), mixed=2)
    drawn = draw(key, len(PICTURES), len(styles), (0.7, 0.7), 2)
    np.testing.assert_allclose(drawn.weights.sum(-1), 1, atol=1e-6)
    assert np.ptp(drawn.weights[:, 0]) > 0.3
    for i, photo in enumerate(jnp.asarray(PICTURES)):  # not in a bucket, whose rounding one of them blows up to 1e-3
        pair = [styles[j] for j in drawn.styles[i]]
        alone = np.clip(stylize(tiny_model, photo, pair, (2, 1), 0.7, weights=drawn.weights[i]), 0, 1)
        np.testing.assert_allclose(found[i], alone, atol=1e-3)
