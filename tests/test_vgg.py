import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY, picture

from uwct import load
from uwct.networks.config import stride, vgg16, vgg19
from uwct.networks.vgg import Decoder, Encoder, encoder_layers


def numpy_conv(x, layer):
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    h, w = x.shape[:2]
    kernel = np.asarray(layer["kernel"], np.float64)
    return sum(padded[i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3)) + layer["bias"]


def numpy_pool(x):
    h, w, c = x.shape
    return x.reshape(h // 2, 2, w // 2, 2, c).max((1, 3))


def numpy_taps(params, x):
    """VGG-16 written out by hand, as in the paper's table."""
    taps = []
    for name in [
        "1_1",
        "1_2",
        "pool",
        "2_1",
        "2_2",
        "pool",
        "3_1",
        "3_2",
        "3_3",
        "pool",
        "4_1",
        "4_2",
        "4_3",
        "pool",
        "5_1",
    ]:
        x = numpy_pool(x) if name == "pool" else np.maximum(numpy_conv(x, params[f"conv{name}"]), 0)
        if name.endswith("_1"):
            taps.append(x)
    return taps


def test_encoder_agrees_with_vgg16_written_out_by_hand(tiny_model):
    x = picture(32, 48)
    taps = tiny_model.encode(jnp.asarray(x))
    for tap, expected in zip(taps, numpy_taps(tiny_model.params["encoder"], x.astype(np.float64)), strict=True):
        np.testing.assert_allclose(tap, expected, atol=1e-4 * np.abs(expected).max())


def test_decoder_agrees_with_the_mirror_written_out_by_hand(tiny_model):
    params = tiny_model.params["decoder3"]
    x = np.random.default_rng(0).random((4, 5, 12))
    expected = np.maximum(numpy_conv(x, params["conv3_1"]), 0).repeat(2, 0).repeat(2, 1)
    expected = np.maximum(numpy_conv(expected, params["conv2_2"]), 0)
    expected = np.maximum(numpy_conv(expected, params["conv2_1"]), 0).repeat(2, 0).repeat(2, 1)
    expected = np.maximum(numpy_conv(expected, params["conv1_2"]), 0)
    expected = numpy_conv(expected, params["conv1_1"])
    np.testing.assert_allclose(tiny_model.decode(jnp.float32(x), 3), expected, atol=1e-4)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_one_pass_gives_the_taps_of_shallower_passes_and_decoders_give_the_size_back(tiny_model, level):
    x = jnp.asarray(picture(32, 16))[None]
    taps = tiny_model.encode(x, level)
    assert len(taps) == level
    assert taps[-1].shape == (1, 32 // stride(level), 16 // stride(level), TINY.blocks[level - 1][0])
    for shallow, deep in zip(taps, tiny_model.encode(x, 5), strict=False):
        np.testing.assert_allclose(shallow, deep, atol=1e-5)
    assert tiny_model.decode(taps[-1], level).shape == x.shape


def test_tables_are_those_of_vgg():
    assert [len(b) for b in vgg16().blocks] == [2, 2, 3, 3, 1]
    assert [len(b) for b in vgg19().blocks] == [2, 2, 4, 4, 1]
    assert [w for *_, w in encoder_layers(vgg16().blocks, 4)] == [64, 64, 128, 128, 256, 256, 256, 512]


def test_decoder_width_scales_hidden_channels_only():
    shapes = jax.eval_shape(Decoder(vgg16().blocks, 3, 0.5).init, jax.random.key(0), jnp.zeros((1, 4, 4, 256)))[
        "params"
    ]
    kernels = {name: layer["kernel"].shape[2:] for name, layer in shapes.items()}
    assert kernels == {
        "conv3_1": (256, 64),
        "conv2_2": (64, 64),
        "conv2_1": (64, 32),
        "conv1_2": (32, 32),
        "conv1_1": (32, 3),
    }


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_compute_dtype_changes_activations_but_not_parameters(tiny_model, dtype):
    x = jnp.asarray(picture(32, 32))
    model = tiny_model.replace(dtype=dtype)
    tap = model.encode(x, 3)[-1]
    assert tap.dtype == dtype
    assert {leaf.dtype for leaf in jax.tree.leaves(model.params)} == {jnp.dtype("float32")}
    exact = tiny_model.encode(x, 3)[-1]
    np.testing.assert_allclose(tap.astype(jnp.float32), exact, atol=0.05 * float(exact.max()))


def test_levels_outside_one_to_five_are_refused(tiny_model):
    for level in (0, 6):
        with pytest.raises(ValueError, match="level must be one of 1, 2, 3, 4, 5"):
            tiny_model.encode(jnp.zeros((16, 16, 3)), level)
        with pytest.raises(ValueError, match="level must be one of 1, 2, 3, 4, 5"):
            tiny_model.decode(jnp.zeros((16, 16, 8)), level)


def test_wrap_padding_makes_the_networks_shift_equivariant(tiny_model):
    x = jnp.asarray(picture(32, 32))
    tap = tiny_model.encode(x, 2, padding="wrap")[-1]
    rolled = tiny_model.encode(jnp.roll(x, 2, 0), 2, padding="wrap")[-1]
    np.testing.assert_allclose(rolled, jnp.roll(tap, 1, 0), atol=1e-5)


def test_the_pretrained_encoder_is_vgg16():
    encoder = load("vgg16").params["encoder"]
    x = picture(32, 32)
    for tap, expected in zip(
        Encoder(vgg16().blocks).apply({"params": encoder}, x), numpy_taps(encoder, x), strict=True
    ):
        np.testing.assert_allclose(tap, expected, atol=1e-4 * np.abs(expected).max())
