"""Clips: the moments of the scene so far, and what they do to the frames."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture

from uwct import Region, encode_style, moments, stylize
from uwct.pipeline import whole
from uwct.pipeline.frames import colors_of, follow, is_cut, smooth, stylize_batch, stylize_frames
from uwct.pipeline.level import Settings
from uwct.pipeline.parts import resolve

STYLE = picture(32, 32, 9)
SCENE = picture(32, 60, 1)
PAN = [SCENE[:, 2 * i : 2 * i + 40] for i in range(5)]
OTHER = [0.4 * picture(32, 40, 2), 0.4 * picture(32, 40, 3)]  # darker, another scene
LEVELS, ALPHA = (2, 1), (0.9, 0.7)


def painted(model, frames, **options):
    return np.stack(list(stylize_frames(model, frames, STYLE, LEVELS, ALPHA, **options)))


def test_smoothed_moments_are_those_of_all_pixels_so_far_with_fading_weights(rng):
    x = rng.normal(size=(6, 4, 5, 3)) + 2 * rng.normal(size=(6, 1, 1, 3))
    keep = np.array([0.7, 0.7, 0.0, 0.7, 0.2])  # a cut before the third
    own = moments(jnp.float32(x[1:]))
    smoothed = smooth(moments(jnp.float32(x[0])), own, jnp.asarray(keep))
    pixels = x.reshape(6, 20, 3)
    shares = np.array([1.0])
    for t in range(5):
        shares = np.append(keep[t] * shares, 1 - keep[t])
        weights = np.repeat(shares, 20)
        seen = pixels[: t + 2].reshape(-1, 3)
        mean = weights @ seen / weights.sum()
        scatter = (weights[:, None] * (seen - mean)).T @ (seen - mean)
        np.testing.assert_allclose(smoothed.weight[t], 20, rtol=1e-5)
        np.testing.assert_allclose(smoothed.mean[t], mean, atol=1e-5)
        np.testing.assert_allclose(smoothed.cov[t], scatter / 19, atol=1e-4)


def test_without_smoothing_every_frame_is_stylized_on_its_own(tiny_model):
    expected = np.stack([stylize(tiny_model, frame, STYLE, LEVELS, ALPHA) for frame in PAN])
    np.testing.assert_allclose(painted(tiny_model, PAN, temporal=0, batch=3), expected, atol=1e-2)


def test_a_clip_that_does_not_change_is_one_picture(tiny_model):
    expected = stylize(tiny_model, PAN[0], STYLE, LEVELS, ALPHA)
    for frame in painted(tiny_model, [PAN[0]] * 3, temporal=0.9):
        np.testing.assert_allclose(frame, expected, atol=1e-2)


def test_batches_and_what_fills_the_last_change_nothing(tiny_model):
    frames = PAN + OTHER
    alone = painted(tiny_model, frames, temporal=0.8, batch=1)
    assert alone.shape == (7, 32, 40, 3)
    np.testing.assert_allclose(painted(tiny_model, frames, temporal=0.8, batch=3), alone, atol=1e-2)


def test_a_cut_forgets_what_was_before(tiny_model):
    together = painted(tiny_model, PAN + OTHER, temporal=0.9)
    np.testing.assert_allclose(together[5:], painted(tiny_model, OTHER, temporal=0.9), atol=1e-2)
    within = painted(tiny_model, PAN[3:], temporal=0.9)
    assert np.abs(together[3:5] - within).max() > 0.01  # whereas within a scene it is remembered


def test_cuts_are_told_from_motion_and_noise(rng):
    frames = np.stack([*PAN, PAN[4] + 0.05 * rng.normal(size=PAN[4].shape), *OTHER[:1]])
    colors = colors_of(jnp.asarray(frames))
    assert list(is_cut(colors[:-1], colors[1:])) == [False] * 5 + [True]


def test_what_comes_and_goes_leaves_the_rest_steadier(tiny_model):
    frames = [PAN[0].copy() for _ in range(8)]
    for frame in frames[1::2]:
        frame[:, :4] = (0.8, 0.7, 0.2)  # too small for a cut

    def flicker(temporal):
        rest = painted(tiny_model, frames, temporal=temporal)[4:, :, 24:]  # beyond the reach of the networks
        return np.abs(np.diff(rest, axis=0)).mean()

    assert flicker(0.9) < 0.5 * flicker(0)


def test_a_batch_is_pure_and_works_under_jit(tiny_model):
    parts = resolve(tiny_model, jnp.asarray(STYLE), (1,), 0.7)
    paint = partial(stylize_batch, past=None, settings=Settings((1,)), temporal=0.9)
    frames = jnp.asarray(np.stack(PAN[:3]))
    expected, past = paint(tiny_model, frames, parts)
    found, found_past = jax.jit(paint)(tiny_model, frames, parts)
    np.testing.assert_allclose(found, expected, atol=1e-2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-2), found_past, past)


def test_parts_lie_over_every_frame(tiny_model):
    """Without memory every frame is a picture by itself; with it, each part has a past of its own."""
    height, width = PAN[0].shape[:2]
    mask = np.float32(np.broadcast_to(np.arange(width) < width // 2, (height, width)))
    other = encode_style(tiny_model, jnp.asarray(picture(20, 20, 3)))
    regions = [Region(mask, STYLE), Region(None, other, alpha=0.3)]
    found = np.stack(list(stylize_frames(tiny_model, PAN, regions, LEVELS, ALPHA, temporal=0, batch=2, shrinkage=0.1)))
    for frame, result in zip(PAN, found, strict=True):
        np.testing.assert_allclose(result, stylize(tiny_model, frame, regions, LEVELS, ALPHA, shrinkage=0.1), atol=2e-3)
    steady = np.stack(list(stylize_frames(tiny_model, PAN, regions, LEVELS, ALPHA, temporal=0.9, shrinkage=0.1)))
    assert np.abs(steady[1:] - found[1:]).max() > 0.01
    kept = np.stack(list(stylize_frames(tiny_model, PAN, [Region(mask, STYLE)], LEVELS, ALPHA)))
    np.testing.assert_allclose(kept[:, :, width // 2 :], np.stack(PAN)[:, :, width // 2 :], atol=1e-6)
    with pytest.raises(ValueError, match="a mask must have the picture's shape"):
        list(stylize_frames(tiny_model, PAN, [Region(mask[1:], STYLE)]))


@pytest.mark.parametrize(
    ("frames", "options", "sentence"),
    [
        (PAN, {"temporal": 1}, "temporal must be at least 0 and less than 1, not 1"),
        (PAN, {"temporal": float("nan")}, "temporal must be at least 0 and less than 1, not nan"),
        (PAN, {"batch": 0}, "batch must be at least 1, not 0"),
        ([PAN[0], PAN[1][:, :30]], {}, r"the first one's shape \(32, 40, 3\), not \(32, 30, 3\)"),
        ([np.uint8(PAN[0])], {}, "a picture must be a float array"),
    ],
)
def test_wrong_arguments_are_refused(tiny_model, frames, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        painted(tiny_model, frames, **options)


def test_what_is_transparent_plays_no_part_in_statistics(tiny_model):
    """Frames are as `whole` paints them by their alpha; and what is not seen, farther than networks look, is free."""
    alpha = np.float32(np.arange(40) < 24)[None].repeat(32, 0)
    frames = [np.dstack([frame, alpha]) for frame in PAN]
    parts = resolve(tiny_model, jnp.asarray(STYLE), LEVELS, ALPHA)
    found = painted(tiny_model, frames, temporal=0, batch=2)
    for frame, picture_of_it in zip(PAN, found, strict=True):
        expected = whole.painted(tiny_model, jnp.asarray(frame), parts.replace(visible=alpha), Settings(LEVELS))
        np.testing.assert_allclose(picture_of_it, expected, rtol=1e-3, atol=2e-3)
    changed = [frame.copy() for frame in frames]
    for frame in changed:
        frame[:, 36:, :3] = 1 - frame[:, 36:, :3]
    # Shrunken, since the whitening of so few pixels makes up to 3e-3 of rounding.
    near, found = (painted(tiny_model, each, temporal=0, batch=2, shrinkage=0.1) for each in (changed, frames))
    np.testing.assert_allclose(near[:, :, :8], found[:, :, :8], atol=1e-4)
    opaque = painted(tiny_model, [frame[..., :3] for frame in changed], shrinkage=0.1)
    assert np.abs(opaque[:, :, :8] - found[:, :, :8]).max() > 0.02


def test_opaque_frames_may_have_alpha_or_not(tiny_model):
    mixed = [np.dstack([frame, np.ones((32, 40))]) if i % 2 else frame for i, frame in enumerate(PAN)]
    np.testing.assert_allclose(painted(tiny_model, mixed, batch=3), painted(tiny_model, PAN, batch=3), atol=2e-3)


def test_a_clip_that_fades_in_from_nothing_is_finite_and_soon_as_one_that_does_not(tiny_model):
    nothing = [np.dstack([0 * frame, np.zeros((32, 40))]) for frame in PAN[:2]]
    seen = [np.dstack([frame, np.ones((32, 40))]) for frame in PAN]
    found = painted(tiny_model, [*nothing, *seen], temporal=0.9)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[2], painted(tiny_model, seen)[0], atol=2e-3)


def test_a_walk_that_is_taken_up_again_gives_the_same_frames(tiny_model):
    parts = resolve(tiny_model, jnp.asarray(STYLE), LEVELS, ALPHA)
    frames = [*PAN[:3], *OTHER, *PAN[3:]]
    how = {"parts": parts, "settings": Settings(LEVELS), "temporal": 0.9, "batch": 2}
    unbroken = [picture for picture, _ in follow(tiny_model, frames, **how)]
    first = list(follow(tiny_model, frames[:4], **how))
    assert [past is None for _, past in first] == [True, False, True, False]
    second = [picture for picture, _ in follow(tiny_model, frames[4:], past=first[-1][1], **how)]
    np.testing.assert_array_equal([*(picture for picture, _ in first), *second], unbroken)
