"""Refinement: its gradient, its windows, all that can be asked of a picture, and the pictures that are hard."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tests.conftest import picture
from uwct import encode_style, load_style, mix_styles, save_style
from uwct.pictures.canvas import Canvas
from uwct.pipeline import manner, refine, refine_windows
from uwct.pipeline.manner import SCALES, details, doubled, halved, manners
from uwct.pipeline.parts import Region, resolve
from uwct.pipeline.refine import descend, refined, refinements, with_manners
from uwct.pipeline.refine_frames import carried, follow_refined, refine_frames
from uwct.pipeline.whole import stylize

LEVELS, ALPHA = (4, 3, 2, 1), (1.0, 0.6, 0.4, 0.4)


@pytest.fixture(scope="module")
def vgg(tiny_vgg):
    return tiny_vgg


def style_of(model, vgg, rgb, mask=None):
    rgb = jnp.asarray(rgb)
    return with_manners(encode_style(model, rgb, mask), vgg, rgb, mask)


def goal_at_full_size(model, vgg, photo, parts):
    shares = refine.padded_shares(parts, photo.shape[:2], 16)
    return refine.Goal(*refine.wanted(vgg, parts, LEVELS, 0), shares, jnp.asarray(photo))


def test_a_manner_is_the_second_moments_by_definition(vgg):
    rgb = picture(32, 48)
    weights = np.random.default_rng(0).random((32, 48)).astype(np.float32)
    features = vgg.encode(jnp.asarray(rgb))
    (found,) = manners(jnp.asarray(rgb), {2: features[1]}, [jnp.asarray(weights)])
    pooled = weights.reshape(16, 2, 24, 2).mean((1, 3)).astype(np.float64)
    f = np.asarray(features[1], np.float64)
    np.testing.assert_allclose(found.features[2], 4 * np.einsum("hw,hwc,hwd->cd", pooled, f, f), rtol=1e-5)
    one = np.concatenate([np.ones((32, 48, 1)), rgb], -1)
    np.testing.assert_allclose(found.colors[0], np.einsum("hw,hwc,hwd->cd", weights, one, one), rtol=1e-5)
    assert found.weight == pytest.approx(weights.sum(), rel=1e-5)


def test_the_derivatives_of_second_moments_are_those_of_finite_differences(rng):
    with jax.enable_x64(True):
        features, weights = jnp.asarray(rng.normal(size=(3, 4, 5))), jnp.asarray(rng.random((3, 4)))
        check_grads(manner._second, (features, weights), order=1, modes=["rev"])
        check_grads(partial(manner._second, weights=None), (features,), order=1, modes=["rev"])


def test_the_derivative_of_second_moments_does_not_vanish_in_float16(rng):
    features = jnp.asarray(100 * rng.random((4, 5, 6)), jnp.float16)
    g = 1e-7 * rng.normal(size=(6, 6))  # float16's smallest number is 6e-8
    _, pull = jax.vjp(partial(manner._second, weights=None), features)
    expected = np.float64(features) @ (g + g.T)
    np.testing.assert_allclose(pull(jnp.float32(g))[0], expected, atol=0.005 * np.abs(expected).max())


@pytest.mark.parametrize("padding", ["reflect", "wrap"])
def test_details_and_the_coarsest_octave_are_the_picture(padding):
    rgb = jnp.asarray(picture(32, 48))
    found = details(rgb, padding)
    whole = halved(halved(halved(rgb)))
    for detail in found[::-1]:
        whole = detail + doubled(whole, padding)
    np.testing.assert_allclose(whole, rgb, atol=1e-6)
    ramp = jnp.tile(jnp.arange(8.0)[:, None, None], (1, 8, 1))
    np.testing.assert_allclose(doubled(ramp)[1:-1, :, 0], np.tile((np.arange(14) / 2 + 0.25)[:, None], (1, 16)))


def test_the_gradient_is_that_of_finite_differences_also_in_windows(tiny_model, vgg, tmp_path):
    """In float64, along random directions."""
    with jax.enable_x64(True):
        double = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), vgg).replace(dtype="float64")
        start, photo = (jnp.asarray(picture(64, 96, seed), jnp.float64) for seed in (1, 2))
        parts = resolve(tiny_model, style_of(tiny_model, vgg, picture(48, 48, 3)), LEVELS, ALPHA)
        goal = goal_at_full_size(tiny_model, vgg, photo, parts).replace(photo=None)
        shapes = [x.astype(jnp.float64) for x in refine.shapes_of(double, photo)]

        def loss(x):
            return refine.loss_of(refine.see(double, x, goal, shapes), goal, 64 * 96)

        slope = jax.jit(jax.grad(loss))(start)
        way = jnp.asarray(np.random.default_rng(0).normal(size=start.shape)) * 1e-6
        both = [jax.jit(loss)(start + way), jax.jit(loss)(start - way)]
        np.testing.assert_allclose((both[0] - both[1]) / 2, jnp.vdot(slope, way), rtol=1e-4)
    windows = gradient_in_windows(vgg, start, photo, parts, tmp_path)
    np.testing.assert_allclose(windows, slope, atol=2e-5 * float(jnp.abs(slope).max()), rtol=1e-3)


def gradient_in_windows(vgg, start, photo, parts, folder):
    """What the first step of a descent in windows leaves behind."""
    for name, values in (("start", start), ("photo", photo), ("shares", np.ones((*start.shape[:2], 1)))):
        Canvas.create(folder / f"{name}.raw", (*start.shape[:2], values.shape[2])).write(0, 0, np.float32(values))
    canvases = [
        Canvas(folder / f"{name}.raw", (*start.shape[:2], c)) for name, c in (("start", 3), ("shares", 1), ("photo", 3))
    ]
    goal = refine.Goal(*refine.wanted(vgg, parts, LEVELS, 0), [], None)
    next(iter(refine_windows.descend(vgg, canvases[0], canvases[1:], goal, 1, folder, 80, lambda done, total: None)))
    return Canvas(folder / "gradient.raw", start.shape).read(slice(None))


def asked(model, vgg, shape):
    """Two parts with a soft mask, one of a mixture; each with manners."""
    a, b, c = (style_of(model, vgg, picture(40, 56, seed)) for seed in (4, 5, 6))
    mask = np.linspace(0, 1, shape[1], dtype=np.float32) * np.ones((shape[0], 1), np.float32)
    return [Region(jnp.asarray(mask), [a, b], [0.3, 0.7]), Region(None, c)]


def test_in_windows_the_picture_is_the_same(tiny_model, vgg, tmp_path):
    shape = (107, 150)  # two windows a side
    start, photo = (jnp.asarray(picture(*shape, seed)) for seed in (1, 2))
    wanted = asked(tiny_model, vgg, shape)
    parts = resolve(tiny_model, wanted, LEVELS, ALPHA)
    whole = refined(vgg, start, photo, parts, LEVELS, 6)
    canvases = []
    for name, values in (("a", start), ("b", photo), ("c", wanted[0].mask[..., None])):
        canvases.append(Canvas.create(tmp_path / name, (*shape, values.shape[2])))
        canvases[-1].write(0, 0, np.asarray(values))
    in_windows = parts.replace(masks=canvases[2:])
    (tmp_path / "work").mkdir()
    for step in refine_windows.refinements(
        vgg, *canvases[:2], in_windows, LEVELS, 6, folder=tmp_path / "work", window=96
    ):
        last = step
    assert last.number == last.total == 6
    apart = np.abs(last.picture().read(slice(None)) - whole)
    assert np.quantile(apart, 0.99) < 2e-4  # of some pixels the gradient is hardly more than rounding
    assert apart.max() < 2e-3


def test_it_comes_nearer_to_the_style_and_twice_to_the_same_picture(tiny_model, vgg):
    photo, rgb = (jnp.asarray(picture(64, 64, seed)) for seed in (1, 2))
    style = style_of(tiny_model, vgg, rgb)
    parts = resolve(tiny_model, style, LEVELS, ALPHA)
    start = stylize(tiny_model, photo, style, LEVELS, ALPHA)
    losses = [float(step.loss) for step in refinements(vgg, start, photo, parts, LEVELS, 20)]
    assert losses[9] < 0.9 * losses[0]  # both at the coarse scale
    assert losses[19] < losses[10]
    once, twice = (refined(vgg, start, photo, parts, LEVELS, 3) for _ in range(2))
    np.testing.assert_array_equal(once, twice)


def test_strength_is_the_balance_of_style_and_content(tiny_model, vgg):
    """At strength 0 only the content's shapes are sought; at 1 they are not."""
    photo, rgb = (jnp.asarray(picture(64, 64, seed)) for seed in (1, 2))
    style = style_of(tiny_model, vgg, rgb)
    start = stylize(tiny_model, photo, style, LEVELS, ALPHA)

    def ends(alpha):
        result = refined(vgg, start, photo, resolve(tiny_model, style, LEVELS, alpha), LEVELS, 20)
        one = resolve(tiny_model, style, LEVELS, 1.0)
        goal = goal_at_full_size(tiny_model, vgg, photo, one)
        shapes = refine.shapes_of(vgg, photo)
        nothing = jax.tree.map(jnp.zeros_like, one.rest.alphas)
        weak = goal.replace(alphas=[dict(zip(LEVELS, nothing, strict=True))])
        far = refine.loss_of(refine.see(vgg, result, goal, None), goal, 64 * 64)
        shape = refine.loss_of(refine.see(vgg, result, weak, shapes), weak, 64 * 64)
        return float(far), float(shape)

    (far0, shape0), (far1, shape1) = ends(0.0), ends(1.0)
    assert far1 < far0
    assert shape0 < shape1


def test_a_part_without_style_pulls_nothing_and_masks_move_their_part_only(tiny_model, vgg):
    start = jnp.asarray(picture(64, 256, 1))
    mask = jnp.zeros((64, 256)).at[:, :64].set(1)
    style = style_of(tiny_model, vgg, picture(40, 40, 3))
    parts = resolve(tiny_model, [Region(mask, style)], LEVELS, 1.0)
    moved = jnp.abs(refined(vgg, start, start, parts, LEVELS, 4) - start).max((0, 2))
    assert moved[:64].min() > 0
    assert moved[64 + 160 :].max() < 1e-3  # beyond all that the networks see of the part, at the coarse scale too


def test_a_mixture_lies_between_and_one_style_twice_is_itself(tiny_model, vgg):
    a, b = (style_of(tiny_model, vgg, picture(40, 56, seed)) for seed in (4, 5))
    photo = jnp.asarray(picture(64, 64, 1))

    def mixed(styles, weights):
        return refined(vgg, photo, photo, resolve(tiny_model, styles, LEVELS, 0.6, weights), LEVELS, 3)

    np.testing.assert_allclose(mixed([a, a], [0.3, 0.7]), mixed(a, None), atol=1e-4)
    np.testing.assert_allclose(mixed([a, b], [1.0, 0.0]), mixed(a, None), atol=1e-4)
    (one,) = refine.wanted(vgg, resolve(tiny_model, [a, b], LEVELS, 0.6, [1, 1]), LEVELS, 0)[0]
    roots = [np.asarray(m.manners[0].colors[0] / m.manners[0].weight, np.float64) for m in (a, b)]
    values = [np.linalg.eigh(x) for x in roots]
    half = sum((v * np.sqrt(np.maximum(w, 0))) @ v.T for w, v in values) / 2
    np.testing.assert_allclose(one.colors[0], half @ half, atol=1e-4)


def test_style_files_hold_manners_and_old_ones_say_what_they_lack(tiny_model, vgg, tmp_path):
    rgb = picture(40, 56)
    style = style_of(tiny_model, vgg, rgb, jnp.asarray(np.float32(np.arange(56) > 20) * np.ones((40, 1), np.float32)))
    save_style(style, tmp_path / "new.safetensors", tiny_model)
    found = load_style(tmp_path / "new.safetensors", tiny_model)
    photo = jnp.asarray(picture(64, 64, 1))
    pictures = [refined(vgg, photo, photo, resolve(tiny_model, s, LEVELS, 0.6), LEVELS, 2) for s in (style, found)]
    np.testing.assert_array_equal(*pictures)
    mixed = mix_styles([found, found])
    assert mixed.manners.keys() == set(SCALES)
    save_style(encode_style(tiny_model, jnp.asarray(rgb)), tmp_path / "old.safetensors", tiny_model)
    old = resolve(tiny_model, load_style(tmp_path / "old.safetensors", tiny_model), LEVELS, 0.6)
    with pytest.raises(ValueError, match="manners"):
        refined(vgg, photo, photo, old, LEVELS, 1)


@pytest.mark.parametrize("shape", [(1, 1), (16, 1000), (40, 40)])
@pytest.mark.parametrize("flat", ["content", "style", "both"])
def test_hard_pictures_are_finite(tiny_model, vgg, shape, flat):
    photo, rgb = picture(*shape), picture(24, 24, 2)
    photo = np.full_like(photo, 0.3) if flat in ("content", "both") else photo
    rgb = np.full_like(rgb, 0.7) if flat in ("style", "both") else rgb
    parts = resolve(tiny_model, style_of(tiny_model, vgg, rgb), LEVELS, ALPHA)
    result = refined(vgg, jnp.asarray(photo), jnp.asarray(photo), parts, LEVELS, 3)
    assert result.shape == photo.shape
    assert np.isfinite(result).all()


def test_textures_without_seams_have_none(tiny_model, vgg):
    """Rolled noise gives the rolled texture."""
    noise = jax.random.uniform(jax.random.key(0), (32, 64, 3))
    parts = resolve(tiny_model, style_of(tiny_model, vgg, picture(40, 40, 3)), LEVELS, 1.0)

    def texture(start):
        for step in refinements(vgg, start, None, parts, LEVELS, 3, padding="wrap"):
            last = step
        return last.picture()

    np.testing.assert_allclose(texture(jnp.roll(noise, 16, 1)), jnp.roll(texture(noise), 16, 1), atol=1e-4)
    with pytest.raises(ValueError, match="multiples of 8"):
        texture(noise[:20])


def test_what_stands_still_in_a_clip_does_not_boil_and_a_cut_starts_anew(tiny_model, vgg):
    frame, other = (jnp.asarray(picture(64, 64, seed)) for seed in (1, 9))
    parts = resolve(tiny_model, style_of(tiny_model, vgg, picture(40, 40, 3)), LEVELS, ALPHA)
    noise = 0.02 * jax.random.normal(jax.random.key(0), (2, 64, 64, 3))  # a stylized frame answers to a camera's noise
    pairs = [(frame, frame + noise[0]), (frame, frame + noise[0]), (other, other)]
    first, second, third = refine_frames(vgg, pairs, parts, LEVELS, 8)
    np.testing.assert_array_equal(first, refined(vgg, frame + noise[0], frame, parts, LEVELS, 8))
    np.testing.assert_array_equal(third, refined(vgg, other, other, parts, LEVELS, 8))
    anew = refined(vgg, frame + noise[0], frame, parts, LEVELS, 2)
    assert jnp.abs(second - first).mean() < 0.5 * jnp.abs(anew - first).mean()
    moved = carried(other, other, frame, jnp.ones_like(frame))  # where frames differ nothing is taken along
    apart = np.abs(other - frame).max(-1) > 0.2
    assert np.abs(moved - other)[apart].max() < 1e-3


def test_what_is_transparent_in_a_clip_plays_no_part_in_refining_it(tiny_model, vgg):
    parts = resolve(tiny_model, style_of(tiny_model, vgg, picture(40, 40, 3)), LEVELS, ALPHA)
    photo, alpha = jnp.asarray(picture(64, 64, 1)), jnp.asarray(np.float32(np.arange(64) < 40)[None].repeat(64, 0))
    frame = jnp.dstack([photo, alpha])
    first, stroke = next(follow_refined(vgg, [(frame, photo)], parts, LEVELS, 4))
    expected = refined(vgg, photo, photo, parts.replace(visible=alpha), LEVELS, 4)
    np.testing.assert_array_equal(first, expected)
    assert np.abs(first - refined(vgg, photo, photo, parts, LEVELS, 4)).max() > 1e-3
    both = [picture for picture, _ in follow_refined(vgg, [(frame, photo)] * 2, parts, LEVELS, 4)]
    ((again, _),) = follow_refined(vgg, [(frame, photo)], parts, LEVELS, 4, stroke)
    np.testing.assert_array_equal(again, both[1])


def test_under_jit_it_is_the_same(tiny_model, vgg):
    start, photo = (jnp.asarray(picture(32, 32, seed)) for seed in (1, 2))
    style = style_of(tiny_model, vgg, picture(24, 24))

    def run(picture):
        return refine.refine(tiny_model, vgg, picture, photo, style, LEVELS, ALPHA, steps=2)

    np.testing.assert_allclose(jax.jit(run)(start), run(start), atol=1e-4)


def test_what_cannot_be_is_named(tiny_model, vgg):
    photo = jnp.asarray(picture(32, 32))
    parts = resolve(tiny_model, style_of(tiny_model, vgg, picture(24, 24)), LEVELS, 0.6)
    with pytest.raises(ValueError, match="one shape"):
        refined(vgg, photo, photo[:16], parts, LEVELS)
    with pytest.raises(ValueError, match="one picture"):
        refined(vgg, photo[None], photo[None], parts, LEVELS)
    with pytest.raises(ValueError, match="at least 1 step"):
        refined(vgg, photo, photo, parts, LEVELS, 0)
    with pytest.raises(FloatingPointError, match="step 2 is not finite"):
        refined(vgg, photo.at[0, 0, 0].set(jnp.nan), photo, parts, LEVELS, 2)


def test_a_descent_starts_anew_at_each_scale(tiny_model, vgg):
    """The first average is the first picture: nothing of the start is left in it that a step has moved."""
    photo = jnp.asarray(picture(64, 64, 1))
    parts = resolve(tiny_model, style_of(tiny_model, vgg, picture(40, 40, 3)), LEVELS, 1.0)
    goal = goal_at_full_size(tiny_model, vgg, photo, parts)
    (_, first), *_ = descend(vgg, photo, goal, 1, "reflect")
    assert float(jnp.abs(first - photo).max()) == pytest.approx(0.9 * refine.RATE, rel=0.05)
