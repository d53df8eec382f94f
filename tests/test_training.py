import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture

from uwct import data, training
from uwct.bridge import bridge_loss, init_bridge, join
from uwct.checkpoints import Checkpoints
from uwct.config import TrainConfig
from uwct.least_squares import solve_linear_decoder
from uwct.model import init_decoder
from uwct.vgg import Decoder

CONFIG = TrainConfig("folder:x", steps=10, batch=4, crop=16, learning_rate=1e-2, warmup=2, dtype="float32")
PICTURES = np.uint8(255 * np.stack([picture(16, 16, seed) for seed in range(4)]))


def fresh_state(model, level, config=CONFIG):
    return training.init_state(init_decoder(jax.random.key(0), model.config, level), config)


def loss_of(level):
    return partial(training.reconstruction_loss, level=level, feature_weight=1.0)


def final(states):
    return list(states)[-1]


def test_the_loss_is_the_papers_with_each_term_over_its_variance(tiny_model):
    model = tiny_model.replace(config=dataclasses.replace(tiny_model.config, variances=(2.0, 3.0, 5.0, 1.0, 1.0, 1.0)))
    x = jnp.float32(PICTURES) / 255
    features = model.encode(x, 2)[-1]
    output = model.decode(features, 2)
    pixels = np.square(np.float64(output) - np.float64(x)).mean()
    again = np.square(np.float64(model.encode(output, 2)[-1]) - np.float64(features)).mean()
    loss, parts = training.reconstruction_loss(model.params["decoder2"], model, x, level=2, feature_weight=0.5)
    np.testing.assert_allclose(loss, pixels / 2 + 0.5 * again / 5, rtol=1e-4)
    np.testing.assert_allclose(parts["pixel_loss"], pixels / 2, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_training_lowers_the_loss_and_leaves_the_encoder_alone(tiny_model, optimizer):
    config = dataclasses.replace(CONFIG, steps=60, optimizer=optimizer)
    before = jax.tree.map(np.array, tiny_model.params)
    state = fresh_state(tiny_model, 2, config)
    run = training.run(state, tiny_model, itertools.repeat(PICTURES), loss=loss_of(2), config=config)
    losses = [float(metrics["loss"]) for _, metrics in run]
    assert len(losses) == 60
    assert losses[-1] < 0.3 * losses[0]
    jax.tree.map(np.testing.assert_array_equal, tiny_model.params, before)


def test_muon_orthogonalises_kernels_as_matrices(tiny_model):
    params = init_decoder(jax.random.key(0), tiny_model.config, 2)
    # A gradient of singular values from 1 to 50: Adam, which works on signs, would keep much of that spread.
    grads = jax.tree.map(jnp.zeros_like, params)
    shape = params["conv2_1"]["kernel"].shape
    left, right = (
        np.linalg.qr(np.random.default_rng(0).normal(size=(n, shape[-1])))[0] for n in (9 * shape[2], shape[-1])
    )
    grads["conv2_1"]["kernel"] = jnp.float32(left * np.geomspace(1, 50, shape[-1]) @ right.T).reshape(shape)
    spreads = []
    for config in (CONFIG, dataclasses.replace(CONFIG, optimizer="muon")):
        optimizer = training.make_optimizer(dataclasses.replace(config, warmup=0))
        update = optimizer.update(grads, optimizer.init(params), params)[0]["conv2_1"]["kernel"]
        singular = np.linalg.svd(np.asarray(update).reshape(-1, shape[-1]), compute_uv=False)
        spreads.append(singular.max() / singular.min())
    assert spreads[1] < 2.5 < spreads[0]


def test_two_devices_give_the_parameters_of_one(tiny_model):
    assert jax.local_device_count() == 2
    results = []
    for devices in (1, 2):
        step = training.parallel_step(loss_of(2), CONFIG, devices)
        state = fresh_state(tiny_model, 2)
        for _ in range(10):
            state, metrics = step(state, tiny_model, PICTURES)
        results.append((jax.tree.map(np.asarray, state.params), float(metrics["loss"])))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), results[0][0], results[1][0])
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-4)


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match="batch 3 cannot be split over 2 devices"):
        training.parallel_step(loss_of(1), dataclasses.replace(CONFIG, batch=3), 2)


def test_a_loss_that_is_not_finite_stops_with_the_step_named(tiny_model):
    def batches():
        yield PICTURES
        yield PICTURES

    state = fresh_state(tiny_model, 1)
    state.params["conv1_1"]["bias"] += jnp.inf
    config = dataclasses.replace(CONFIG, steps=2)
    with pytest.raises(FloatingPointError, match=r"the loss is (inf|nan) at step 1"):
        final(training.run(state, tiny_model, batches(), loss=loss_of(1), config=config))


def test_parameters_that_are_not_finite_are_never_saved(tiny_model):
    state = fresh_state(tiny_model, 1)
    training.check_finite(state, 3)
    state.params["conv1_1"]["bias"] += jnp.nan
    with pytest.raises(FloatingPointError, match="the parameters are not finite after step 3"):
        training.check_finite(state, 3)


def test_bfloat16_trains_as_float32_does(tiny_model):
    losses = {}
    for dtype in ("float32", "bfloat16"):
        config = dataclasses.replace(CONFIG, steps=40, dtype=dtype)
        model = tiny_model.replace(dtype=dtype)
        state, metrics = final(
            training.run(
                fresh_state(model, 2, config), model, itertools.repeat(PICTURES), loss=loss_of(2), config=config
            )
        )
        losses[dtype] = float(metrics["loss"])
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)


def test_an_interrupted_run_resumes_bit_for_bit(tiny_model, photographs, tmp_path):
    source = data.open_source(f"folder:{photographs}")

    def train(folder, stop=None):
        batches = data.train_batches(source, batch=4, crop=16)
        with Checkpoints(tmp_path / folder, dataclasses.asdict(CONFIG)) as checkpoints:
            start = checkpoints.restore(fresh_state(tiny_model, 2), batches)
            for state, _ in training.run(start, tiny_model, batches, loss=loss_of(2), config=CONFIG):
                if int(state.step) in (3, 6):
                    checkpoints.save(state, batches)
                if int(state.step) == stop:
                    break
        return jax.tree.map(np.asarray, state)

    whole = train("whole")
    train("interrupted", stop=4)
    train("interrupted", stop=7)
    jax.tree.map(np.testing.assert_array_equal, train("interrupted"), whole)
    assert int(whole.step) == 10


def test_another_config_is_refused_at_resume_with_the_difference_named(tiny_model, photographs, tmp_path):
    batches = data.train_batches(data.open_source(f"folder:{photographs}"), batch=4, crop=16)
    config = dataclasses.asdict(CONFIG)
    with Checkpoints(tmp_path / "run", config) as checkpoints:
        checkpoints.save(fresh_state(tiny_model, 1), batches)
    refused = pytest.raises(ValueError, match="seed was 0 and is 5")
    with Checkpoints(tmp_path / "run", config | {"seed": 5}) as checkpoints, refused:
        checkpoints.restore(fresh_state(tiny_model, 1), batches)


def test_evaluate_averages_over_pictures(tiny_model):
    uneven = [PICTURES[:3], PICTURES[3:]]
    found = training.evaluate(tiny_model.params["decoder1"], tiny_model, uneven, level=1)
    whole = training.evaluate(tiny_model.params["decoder1"], tiny_model, [PICTURES], level=1)
    assert found == pytest.approx(whole, rel=1e-4)


def test_warm_start_takes_layers_of_the_same_name_and_shape():
    fresh = {"a": {"w": np.zeros(2)}, "b": {"w": np.zeros(3)}, "c": {"w": np.zeros(1)}}
    first = {"a": {"w": np.ones(2)}, "b": {"w": np.ones(4)}}
    second = {"a": {"w": np.full(2, 2)}, "b": {"w": np.full(3, 2)}, "d": {"w": np.ones(1)}}
    result = training.warm_start(fresh, first, second)
    assert {name: layer["w"][0] for name, layer in result.items()} == {"a": 1, "b": 2, "c": 0}


def test_least_squares_is_the_minimum_of_the_pixel_loss(tiny_model):
    solved = solve_linear_decoder(tiny_model, itertools.repeat(PICTURES), 1)
    x = jnp.float32(PICTURES) / 255

    def pixel_loss(decoder):
        return training.reconstruction_loss(decoder, tiny_model, x, level=1, feature_weight=0.0)[0]

    gradient = jax.grad(pixel_loss)(jax.tree.map(jnp.asarray, solved))
    random = jax.grad(pixel_loss)(tiny_model.params["decoder1"])
    for found, scale in zip(jax.tree.leaves(gradient), jax.tree.leaves(random), strict=True):
        assert np.abs(found).max() < 1e-3 * np.abs(scale).max()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "steps must be at least 1, not 0"),
        ("crop", 40, "crop must be a multiple of 16, not 40"),
        ("optimizer", "sgd", "optimizer must be"),
        ("dtype", "float64", "dtype must be"),
        ("learning_rate", 0.0, "learning_rate must be positive"),
        ("feature_weight", -1.0, "feature_weight must not be negative"),
    ],
)
def test_bad_settings_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **{field: value})


@pytest.mark.parametrize("level", [2, 3, 4, 5])
def test_a_joined_decoder_is_the_shallower_one_behind_the_bridge(tiny_model, level):
    key, shallow = jax.random.key(3), tiny_model.params[f"decoder{level - 1}"]
    bridge = init_bridge(tiny_model.params[f"decoder{level}"], tiny_model, level, key)
    bridge["map"]["bias"] = jax.random.normal(key, bridge["map"]["bias"].shape)
    features = jax.random.uniform(key, (4, 3, tiny_model.config.blocks[level - 1][0]))
    decoder = Decoder(tiny_model.config.blocks, level, tiny_model.config.decoder_width)
    hidden = decoder.apply({"params": bridge["top"]}, features, stop=f"conv{level - 1}_1")
    expected = tiny_model.decode(hidden @ bridge["map"]["kernel"][0, 0] + bridge["map"]["bias"], level - 1)
    joined = tiny_model.replace(params={f"decoder{level}": join(bridge, shallow, level)})
    np.testing.assert_allclose(joined.decode(features, level), expected, atol=1e-4)
    assert jax.tree.map(jnp.shape, joined.params[f"decoder{level}"]) == jax.tree.map(
        jnp.shape, tiny_model.params[f"decoder{level}"]
    )


def test_a_bridge_learns_the_shallower_features(tiny_model):
    config = dataclasses.replace(CONFIG, steps=60)
    bridge = init_bridge(tiny_model.params["decoder3"], tiny_model, 3, jax.random.key(0))
    run = training.run(
        training.init_state(bridge, config),
        tiny_model,
        itertools.repeat(PICTURES),
        loss=partial(bridge_loss, level=3),
        config=config,
    )
    states = list(run)
    assert float(states[-1][1]["loss"]) < 0.5 * float(states[0][1]["loss"])
