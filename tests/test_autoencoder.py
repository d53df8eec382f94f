"""Encoders that learn with their decoders, and the loss that keeps pictures sharp."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from test_training import CONFIG, PICTURES, train

from uwct.judge.evaluation import content_distance, load_judge
from uwct.networks.config import ModelConfig
from uwct.networks.model import Model, init_decoder
from uwct.networks.vgg import Encoder
from uwct.training import autoencoder, stepping
from uwct.training.lpips import load_vgg
from uwct.training.perceptual import perceptual_loss
from uwct.training.reconstruction import Fixed, reconstruction_loss, reconstruction_metrics

X = jnp.float32(PICTURES) / 255
UNITS = (2.0, 3.0, 5.0, 7.0, 11.0, 13.0)


@pytest.fixture
def critic(tiny_model):
    """Another network than the one that learns: other weights, other units."""
    params = jax.tree.map(lambda p: p[..., ::-1], tiny_model.params)
    return tiny_model.replace(params=params, config=dataclasses.replace(tiny_model.config, variances=UNITS))


@pytest.fixture
def own(tiny_model):
    return autoencoder.with_own_encoders(tiny_model)


def errors(critic, output, pictures):
    """Mean squared errors of what the critic sees, over its variances, in float64, by level."""
    seen = zip(critic.encode(output), critic.encode(pictures), UNITS[1:], strict=True)
    return [np.square(np.float64(a) - np.float64(b)).mean() / unit for a, b, unit in seen]


def test_the_perceptual_loss_is_the_mean_over_three_levels(critic):
    output = jnp.flip(X, 2) + 0.1
    expected = np.mean(errors(critic, output, X)[:3])
    np.testing.assert_allclose(perceptual_loss(critic, output, critic.encode(X)), expected, rtol=1e-4)
    assert float(perceptual_loss(critic, X, critic.encode(X, 3))) == 0


def test_what_the_critic_sees_of_the_right_pictures_has_no_gradient(critic):
    output = jnp.flip(X, 2)
    gradient = jax.grad(lambda x: perceptual_loss(critic, output, critic.encode(x)))(X)
    assert not np.asarray(gradient).any()


def test_a_decoders_loss_gains_the_perceptual_one(tiny_model, critic):
    decoder = tiny_model.params["decoder2"]
    plain, _ = reconstruction_loss(decoder, Fixed(tiny_model), X, level=2)
    both, parts = reconstruction_loss(decoder, Fixed(tiny_model, critic), X, level=2, perceptual_weight=0.5)
    expected = np.mean(errors(critic, tiny_model.decode(tiny_model.encode(X, 2)[-1], 2), X)[:3])
    np.testing.assert_allclose(parts["perceptual_loss"], expected, rtol=1e-4)
    np.testing.assert_allclose(both, float(plain) + 0.5 * expected, rtol=1e-4)


def test_both_losses_gain_lpips(tiny_model, own, critic):
    """That of the package's own; it has zeros beyond the border, which is reflected here."""
    pictures = jnp.stack([jnp.asarray(picture(128, 128, seed)) for seed in (1, 2)])
    vgg, judge, decoder = load_vgg(), load_judge("vgg16"), tiny_model.params["decoder2"]
    output = tiny_model.decode(tiny_model.encode(pictures, 2)[-1], 2)
    expected = np.mean([content_distance(judge, a, b) for a, b in zip(output, pictures, strict=True)])
    plain, _ = reconstruction_loss(decoder, Fixed(tiny_model), pictures, level=2)
    both, parts = reconstruction_loss(decoder, Fixed(tiny_model, vgg=vgg), pictures, level=2, lpips_weight=3)
    np.testing.assert_allclose(parts["lpips_loss"], expected, rtol=0.1)
    np.testing.assert_allclose(both, plain + 3 * parts["lpips_loss"], rtol=1e-4)

    params = autoencoder.init(Fixed(own, critic), 2, iter([PICTURES] * autoencoder.MAP_BATCHES))
    weights = {"level": 2, "perceptual_weight": 0.5, "teacher_weight": 0.25}
    plain, _ = autoencoder.autoencoder_loss(params, Fixed(own, critic), pictures, **weights)
    both, parts = autoencoder.autoencoder_loss(params, Fixed(own, critic, vgg), pictures, **weights, lpips_weight=3)
    np.testing.assert_allclose(parts["lpips_loss"], expected, rtol=0.1)
    np.testing.assert_allclose(both, plain + 3 * parts["lpips_loss"], rtol=1e-4)


def test_own_encoders_are_the_trunk_in_parts(tiny_model, own):
    assert own.config.encoded_levels == (1, 2, 3, 4, 5)
    for level in range(1, 6):
        np.testing.assert_array_equal(own.encode(X, level)[-1], tiny_model.encode(X, level)[-1])
        np.testing.assert_array_equal(
            own.decode(own.encode(X, level)[-1], level), tiny_model.decode(tiny_model.encode(X, level)[-1], level)
        )
        assert set(own.params[f"encoder{level}"]) == {
            name for name in tiny_model.params["encoder"] if name <= f"conv{level}_1"
        }
    assert autoencoder.with_own_encoders(own) is own


def test_a_deepened_level_gives_what_the_level_before_gives_of_pooled_features():
    config = ModelConfig("wide", ((8, 8), (12, 12), (16, 16, 16), (16, 16, 16), (16,)), 1.0)
    encoder = jax.tree.map(lambda p: p / 8, Encoder(config.blocks).init(jax.random.key(3), X)["params"])
    decoders = {f"decoder{level}": init_decoder(jax.random.key(level), config, level) for level in range(1, 6)}
    own = autoencoder.with_own_encoders(Model({"encoder": encoder, **decoders}, config))
    deep = autoencoder.deepened(own, 5)
    features = own.encode(X, 4)[-1]
    n, height, width, channels = features.shape
    pooled = np.asarray(features).reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))
    np.testing.assert_array_equal(deep.encode(X, 5)[-1], pooled)
    enlarged = jnp.asarray(pooled.repeat(2, 1).repeat(2, 2))
    np.testing.assert_array_equal(deep.decode(deep.encode(X, 5)[-1], 5), own.decode(enlarged, 4))
    assert deep.params["encoder4"] is own.params["encoder4"]


@pytest.mark.parametrize("level", [2, 5])
def test_the_loss_is_the_sum_of_its_terms(own, critic, level):
    fixed = Fixed(own, critic)
    params = autoencoder.init(fixed, level, iter([PICTURES] * autoencoder.MAP_BATCHES))
    loss, parts = autoencoder.autoencoder_loss(
        params, fixed, X, level=level, perceptual_weight=0.5, teacher_weight=0.25
    )
    features = own.encode(X, level)[-1]
    output = own.decode(features, level)
    linear = params["map"]
    guess = np.float64(features) @ np.float64(linear["kernel"][0, 0]) + linear["bias"]
    pixels = np.square(np.float64(output) - X).mean() / own.config.variances[0]
    missed = np.square(guess - critic.encode(X)[level - 1]).mean() / UNITS[level]
    perceived = np.mean(errors(critic, output, X)[:3])
    np.testing.assert_allclose(parts["teacher_loss"], missed, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(loss, pixels + 0.5 * perceived + 0.25 * missed, rtol=1e-3)


def test_the_map_starts_as_the_best_linear_prediction(own, critic):
    params = autoencoder.init(Fixed(own, critic), 3, iter([PICTURES] * autoencoder.MAP_BATCHES))
    features, wanted = (np.float64(m.encode(X, 3)[-1]).reshape(-1, 12) for m in (own, critic))
    inputs = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    solution, *_ = np.linalg.lstsq(inputs, wanted, rcond=None)
    best = np.square(inputs @ solution - wanted).mean()
    guess = features @ np.float64(params["map"]["kernel"][0, 0]) + params["map"]["bias"]
    assert np.square(guess - wanted).mean() == pytest.approx(best, rel=1e-2, abs=1e-6)


def test_encoder_and_decoder_learn_and_what_is_fixed_does_not(own, critic):
    before = jax.tree.map(np.array, (own.params, critic.params))
    config = dataclasses.replace(CONFIG, steps=40, optimizer="muon", average=0.9)
    fixed = Fixed(own, critic)
    params = autoencoder.init(fixed, 2, iter([PICTURES] * autoencoder.MAP_BATCHES))
    loss = partial(autoencoder.autoencoder_loss, level=2, perceptual_weight=1.0, teacher_weight=0.3)
    steps = train(stepping.init_state(params, config), fixed, loss=loss, config=config)
    first, last = steps[0][1], steps[-1][1]
    assert float(last["loss"]) < 0.5 * float(first["loss"])
    moved = steps[-1][0].result["encoder"]["conv1_1"]["kernel"] - own.params["encoder2"]["conv1_1"]["kernel"]
    assert np.abs(moved).max() > 1e-3
    jax.tree.map(np.testing.assert_array_equal, (own.params, critic.params), before)


def test_a_finished_level_is_normalised_and_reconstructs_as_before(own, critic):
    params = autoencoder.init(Fixed(own, critic), 3, iter([PICTURES] * autoencoder.MAP_BATCHES))
    params = jax.tree.map(lambda p: 1.1 * p + 0.01, params)
    _, wanted = autoencoder.reconstruct(params, own, X, 3)
    model = autoencoder.finish(params, own, 3, lambda: [np.asarray(X)])
    features = model.encode(X, 3)[-1]
    np.testing.assert_allclose(model.decode(features, 3), wanted, atol=1e-3)
    assert np.sum(np.abs(features.var((0, 1, 2)) - 1) < 1e-2) >= 6  # but for what hardly ever fires
    before, after = (encoder["conv1_2"]["kernel"] for encoder in (params["encoder"], model.params["encoder3"]))
    np.testing.assert_array_equal(before, after)  # further training needs the scale that it had
    np.testing.assert_allclose(model.config.variances[3], features.var((0, 1, 2)).mean(), rtol=1e-3)
    for level in (1, 2, 4, 5):
        assert model.config.variances[level] == own.config.variances[level]
        assert model.params[f"decoder{level}"] is own.params[f"decoder{level}"]


def test_the_metrics_of_an_autoencoder_are_those_of_its_parts(own, critic):
    pictures = jnp.float32(np.random.default_rng(0).random((2, 64, 64, 3)))
    fixed = Fixed(own, critic, judge=load_judge("alexnet"))
    params = {part: own.params[f"{part}2"] for part in ("encoder", "decoder")}
    found = autoencoder.autoencoder_metrics(params, fixed, pictures, level=2)
    expected = reconstruction_metrics(own.params["decoder2"], fixed, pictures, level=2)
    for name in ("psnr", "ssim", "lpips"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    np.testing.assert_allclose(found["loss"], expected["pixel_loss"], rtol=1e-5)
