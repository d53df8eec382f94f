import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st

import uwct
from uwct import adain, encode_style, moments, monge, stylize, synthesize
from uwct.pipeline import compat
from uwct.pipeline.level import Settings, decode_mapped
from uwct.pipeline.padding import pad_to_stride, pool
from uwct.pipeline.parts import resolve
from uwct.pipeline.refine import with_manners
from uwct.pipeline.whole import painted
from uwct.transforms.affine import Affine
from uwct.transforms.statistics import shrink

CONTENT, STYLE, OTHER = picture(32, 48, 1), picture(48, 32, 2), picture(32, 32, 3)


def test_levels_in_turn_agree_with_the_paper_in_numpy(tiny_model):
    expected = jnp.asarray(CONTENT)
    for level, alpha in ((4, 0.7), (2, 0.4)):
        content = np.asarray(tiny_model.encode(expected, level)[-1], np.float64)
        style = np.asarray(tiny_model.encode(jnp.asarray(STYLE), level)[-1])
        mapped = reference.wct(content, style, content.shape[-1] * np.finfo(np.float32).eps)
        expected = tiny_model.decode(jnp.float32(alpha * mapped + (1 - alpha) * content), level)
    result = stylize(tiny_model, CONTENT, STYLE, (4, 2), (0.7, 0.4))
    np.testing.assert_allclose(result, expected, atol=2e-3 * float(jnp.abs(expected).max()))


@given(height=st.integers(1, 40), width=st.integers(1, 40))
@settings(max_examples=10)
def test_the_result_has_the_contents_size_down_to_one_pixel(tiny_model, height, width):
    result = stylize(tiny_model, picture(height, width), encode_style(tiny_model, OTHER), (5, 1))
    assert result.shape == (height, width, 3)
    assert result.dtype == jnp.float32
    assert np.isfinite(result).all()


def test_padding_is_reflected_and_has_no_weight():
    padded, weights = pad_to_stride(jnp.asarray(CONTENT[:13, :9]))
    np.testing.assert_array_equal(padded, np.pad(CONTENT[:13, :9], ((0, 3), (0, 7), (0, 0)), mode="reflect"))
    np.testing.assert_array_equal(pool(weights, 3)[:, 2], [0.25, 0.25, 0.25, 0.0625])
    np.testing.assert_array_equal(pool(weights, 3)[:, :2], np.array([[1, 1], [1, 1], [1, 1], [0.25, 0.25]]))
    np.testing.assert_array_equal(pool(weights, 3)[:, 3], 0)
    assert pad_to_stride(jnp.asarray(CONTENT))[1] is None


def test_alpha_zero_is_plain_encoding_and_decoding(tiny_model):
    decoded = tiny_model.decode(tiny_model.encode(jnp.asarray(CONTENT), 3)[-1], 3)
    np.testing.assert_allclose(stylize(tiny_model, CONTENT, STYLE, (3,), 0.0), decoded, atol=1e-5)


def test_a_style_is_its_moments_at_every_level(tiny_model):
    style = encode_style(tiny_model, jnp.asarray(STYLE))
    for level, tap in enumerate(tiny_model.encode(jnp.asarray(STYLE)), start=1):
        np.testing.assert_allclose(style.moments[level].mean, moments(tap).mean, atol=1e-5)
        np.testing.assert_allclose(style.moments[level].cov, moments(tap).cov, atol=1e-4)


def test_a_batch_gives_what_its_pictures_give_alone(tiny_model):
    batch = jnp.stack([jnp.asarray(CONTENT), jnp.asarray(CONTENT[::-1])])
    single = jnp.stack([stylize(tiny_model, x, STYLE, (2, 1)) for x in batch])
    np.testing.assert_allclose(stylize(tiny_model, batch, STYLE, (2, 1)), single, atol=2e-3)


def test_a_mixture_of_one_style_with_nothing_of_another_is_the_first(tiny_model):
    alone = stylize(tiny_model, CONTENT, STYLE, (3, 1))
    np.testing.assert_allclose(stylize(tiny_model, CONTENT, [STYLE, OTHER], (3, 1), weights=[2, 0]), alone, atol=1e-4)
    half = stylize(tiny_model, CONTENT, [STYLE, OTHER], (1,), 1.0)
    ends = [stylize(tiny_model, CONTENT, s, (1,), 1.0) for s in (STYLE, OTHER)]
    # Decoder 1 is linear, so mixing maps is mixing pictures there.
    np.testing.assert_allclose(half, (ends[0] + ends[1]) / 2, atol=1e-4)


def test_any_transform_can_be_given(tiny_model):
    features = np.asarray(tiny_model.encode(jnp.asarray(CONTENT), 1)[-1])
    target = reference.flat(np.asarray(tiny_model.encode(jnp.asarray(STYLE), 1)[-1]))
    x = reference.flat(features)
    scale = target.std(0, ddof=1) / np.maximum(x.std(0, ddof=1), 1e-9)  # channels that ReLU shut have deviation 0
    expected = (x - x.mean(0)) * scale + target.mean(0)
    expected = tiny_model.decode(jnp.float32(expected.reshape(features.shape)), 1)
    np.testing.assert_allclose(stylize(tiny_model, CONTENT, STYLE, (1,), 1.0, transform=adain), expected, atol=1e-3)


def test_shrinkage_acts_on_the_moments_of_content_and_style(tiny_model):
    def shrunk(c, s):
        return monge(shrink(c, 0.4), shrink(s, 0.4))

    expected = stylize(tiny_model, CONTENT, STYLE, (2, 1), transform=shrunk)
    result = stylize(tiny_model, CONTENT, STYLE, (2, 1), transform=monge, shrinkage=0.4)
    np.testing.assert_allclose(result, expected, atol=1e-4)
    assert np.abs(result - stylize(tiny_model, CONTENT, STYLE, (2, 1), transform=monge)).max() > 0.01


def test_each_level_can_have_a_mixture_of_its_own(tiny_model):
    found = stylize(tiny_model, CONTENT, [STYLE, OTHER], (3, 1), 0.7, weights=[[2, 0], [1, 3]])
    between = stylize(tiny_model, CONTENT, STYLE, (3,), 0.7)
    expected = stylize(tiny_model, between, [STYLE, OTHER], (1,), 0.7, weights=[0.25, 0.75])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_one_compilation_serves_all_strengths_weights_and_pictures_of_a_shape(tiny_model, caplog):
    styles = [encode_style(tiny_model, jnp.asarray(s)) for s in (STYLE, OTHER)]
    stylize(tiny_model, CONTENT, styles, (2,), 0.1)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        stylize(tiny_model, CONTENT[::-1].copy(), styles, (2,), 0.9, weights=[3, 1], shrinkage=0.5)
        assert not caplog.records
        stylize(tiny_model, picture(400, 20), styles, (2,), 0.1)  # of a bucket that no other test has
    assert caplog.records


def test_without_seams_a_shifted_noise_gives_the_shifted_texture(tiny_model):
    """By multiples of the stride, which is what wrapping means; with reflection it does not."""
    noise, styles = picture(32, 48, 5), encode_style(tiny_model, jnp.asarray(STYLE))
    for padding, same in (("wrap", True), ("reflect", False)):
        straight = stylize(tiny_model, noise, styles, (3, 1), 0.9, padding=padding)
        shifted = stylize(tiny_model, np.roll(noise, (8, 12), (0, 1)), styles, (3, 1), 0.9, padding=padding)
        assert (np.abs(np.roll(straight, (8, 12), (0, 1)) - shifted).max() < 2e-3) == same
    with pytest.raises(ValueError, match="without seams at level 3, sides must be multiples of 4 pixels"):
        synthesize(tiny_model, styles, (30, 32), jax.random.key(0), (3,), padding="wrap")


@pytest.mark.parametrize("level", [1, 2])
def test_decoding_mapped_features_is_mapping_then_decoding(tiny_model, rng, level):
    """Large features, whose map becomes part of the decoder, and small ones, whose map does not."""
    channels = tiny_model.config.blocks[level - 1][0]
    affine = Affine(jnp.float32(rng.normal(size=(channels, channels))), jnp.float32(rng.normal(size=channels)))
    for size in (2, 24):
        x = jnp.float32(rng.random((size, size, channels)))
        separately = tiny_model.decode(affine.apply(x), level)
        np.testing.assert_allclose(decode_mapped(tiny_model, affine, x, level), separately, atol=1e-4)


def test_the_content_is_whitened_once_for_all_styles(tiny_model):
    styles = [encode_style(tiny_model, jnp.asarray(s)) for s in (STYLE, OTHER, STYLE)]
    parts = resolve(tiny_model, styles, (2,), 1.0)
    level_2 = jax.jit(lambda model, content, parts: painted(model, content, parts, Settings((2,))))
    lowered = level_2.lower(tiny_model, jnp.asarray(CONTENT), parts)
    assert lowered.compile().as_text().count("syevd") == 1 + len(styles)


def test_stylize_works_under_jit_vmap_and_grad(tiny_model):
    style = encode_style(tiny_model, jnp.asarray(STYLE))
    noise = jax.random.uniform(jax.random.key(0), CONTENT.shape)  # CONTENT's covariance would magnify rounding
    direct = stylize(tiny_model, noise, style, (2, 1))
    jitted = jax.jit(lambda model, x, style: stylize(model, x, style, (2, 1)))(tiny_model, noise, style)
    np.testing.assert_allclose(jitted, direct, atol=1e-4)
    mapped = jax.vmap(lambda alpha: stylize(tiny_model, CONTENT, style, (1,), alpha))(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(mapped[1], stylize(tiny_model, CONTENT, style, (1,), 1.0), atol=1e-4)
    gradient = jax.grad(lambda x: stylize(tiny_model, x, style, (2,)).sum())(jnp.asarray(CONTENT))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_close(tiny_model, dtype):
    exact = stylize(tiny_model, CONTENT, STYLE, (2, 1))
    half = stylize(tiny_model.replace(dtype=dtype), CONTENT, STYLE, (2, 1))
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, exact, atol=0.1 * float(jnp.abs(exact).max()))


def test_textures_depend_on_the_key_alone(tiny_model):
    first, again = (synthesize(tiny_model, STYLE, (24, 40), jax.random.key(1), (2, 1), passes=1) for _ in range(2))
    other = synthesize(tiny_model, STYLE, (24, 40), jax.random.key(2), (2, 1), passes=1)
    assert first.shape == (24, 40, 3)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_a_texture_is_stylized_noise(tiny_model):
    noise = jax.random.uniform(jax.random.key(5), (16, 16, 3))
    expected = stylize(tiny_model, stylize(tiny_model, noise, STYLE, (2,), 1.0), STYLE, (2,), 1.0)
    result = synthesize(tiny_model, STYLE, (16, 16), jax.random.key(5), (2,), passes=2)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_nan_is_detected_and_its_level_named(tiny_model):
    encoder = jax.tree.map(lambda x: x, tiny_model)
    encoder.params["encoder"]["conv1_1"]["bias"] += jnp.nan
    with pytest.raises(FloatingPointError, match="level 3: the content's features are not finite"):
        stylize(encoder, CONTENT, encode_style(tiny_model, STYLE), (3, 2, 1))
    broken = jax.tree.map(lambda x: x, tiny_model)
    broken.params["decoder3"]["conv1_1"]["bias"] += jnp.nan
    with pytest.raises(FloatingPointError, match="level 3: the decoded picture is not finite"):
        stylize(broken, CONTENT, STYLE, (3, 2, 1))
    with pytest.raises(FloatingPointError, match="level 1: the decomposition"):
        stylize(tiny_model, CONTENT, STYLE, (1,), transform=lambda c, s: adain(c, s).blend(jnp.nan))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"content": np.zeros((4, 4), np.float32)}, "a picture must be a float array"),
        ({"content": np.zeros((4, 4, 3), np.uint8)}, "a picture must be a float array"),
        ({"style": np.zeros((2, 4, 4, 3), np.float32)}, "a style is one picture"),
        ({"style": []}, "at least one style"),
        ({"levels": (6,)}, "level must be one of 1, 2, 3, 4, 5, not 6"),
        ({"alpha": (0.5, 0.5)}, "one for each of 1 levels"),
        ({"weights": [1, 2]}, "1 styles need as many weights, or as many for each of .* levels, not"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tiny_model, arguments, message):
    with pytest.raises(ValueError, match=message):
        stylize(**{"model": tiny_model, "content": CONTENT, "style": STYLE, "levels": (1,)} | arguments)


BYTES = np.uint8(255 * CONTENT)
REFUSALS = {
    "stylize": lambda m, vgg: uwct.stylize(m, BYTES, STYLE),
    "no passes": lambda m, vgg: synthesize(m, STYLE, (16, 16), jax.random.key(0), passes=0),
    "no levels": lambda m, vgg: uwct.stylize(m, CONTENT, STYLE, levels=()),
    "stylize_photo": lambda m, vgg: uwct.stylize_photo(m, BYTES, STYLE),
    "stylize_photo's mask": lambda m, vgg: uwct.stylize_photo(m, CONTENT, [uwct.Region(np.ones((3, 4)), STYLE)]),
    "refine": lambda m, vgg: uwct.refine(m, vgg, BYTES, BYTES, STYLE),
    "refine's mask": lambda m, vgg: uwct.refine(m, vgg, CONTENT, CONTENT, [uwct.Region(np.ones((3, 4)), STYLE)]),
    "manners": lambda m, vgg: with_manners(uwct.encode_style(m, STYLE), vgg, STYLE, np.ones((3, 4))),
    "compat": lambda m, vgg: compat.stylize(m, BYTES, STYLE),
    "match_colors": lambda m, vgg: uwct.match_colors(BYTES, CONTENT),
    "match_colors' content": lambda m, vgg: uwct.match_colors(CONTENT, BYTES),
    "keep_chroma": lambda m, vgg: uwct.keep_chroma(CONTENT, BYTES),
    "Affine": lambda m, vgg: Affine(jnp.eye(3), jnp.zeros(3)).apply(BYTES),
    "a mask and a pooling": lambda m, vgg: uwct.encode_style(m, STYLE, np.ones(STYLE.shape[:2]), pooling="floor"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_would_be_computed_wrongly_is_refused(tiny_model, tiny_vgg, name):
    with pytest.raises(ValueError, match=r"must be a? ?float|must have the picture's shape|level|not both|1 pass"):
        REFUSALS[name](tiny_model, tiny_vgg)


def test_devices_share_a_batch_under_shard_map(tiny_model):
    pictures, style = jnp.stack([CONTENT, 1 - CONTENT]), uwct.encode_style(tiny_model, STYLE)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("devices",))
    halves = jax.sharding.PartitionSpec("devices")

    def paint(pictures):
        return uwct.stylize(tiny_model, pictures, style, (2, 1), shrinkage=0.3)  # which does not amplify rounding

    shared = jax.jit(jax.shard_map(paint, mesh=mesh, in_specs=halves, out_specs=halves, check_vma=False))(pictures)
    np.testing.assert_allclose(shared, paint(pictures), atol=1e-4)


def test_float64_under_jit_needs_x64(tiny_model):
    def paint(content):
        return uwct.stylize(tiny_model, content, STYLE, (2, 1), precision="float64")

    with pytest.raises(ValueError, match="under jit, precision"):
        jax.jit(paint)(CONTENT)
    alone = paint(CONTENT)
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(paint)(CONTENT), alone, atol=1e-4)
