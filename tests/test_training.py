import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture

from uwct.judge.evaluation import content_distance, load_judge
from uwct.networks.model import init_decoder
from uwct.networks.vgg import Decoder
from uwct.training import stepping
from uwct.training.bridge import bridge_loss, init_bridge, join
from uwct.training.config import RECIPES, TrainConfig
from uwct.training.least_squares import solve_linear_decoder
from uwct.training.optimizer import learning_rate, make_optimizer
from uwct.training.parallel import Devices
from uwct.training.reconstruction import Fixed, reconstruction_loss, reconstruction_metrics, warm_start

CONFIG = TrainConfig(steps=10, batch=4, crop=16, learning_rate=1e-2, schedule="cosine", warmup=2, dtype="float32")
PICTURES = np.uint8(255 * np.stack([picture(16, 16, seed) for seed in range(4)]))


def fresh_state(model, level, config=CONFIG):
    return stepping.init_state(init_decoder(jax.random.key(0), model.config, level), config)


def loss_of(level):
    def loss(decoder, model, pictures):
        return reconstruction_loss(decoder, Fixed(model), pictures, level=level)

    return loss


def devices(count=1):
    return Devices(jax.local_devices()[:count])


def train(state, model, pictures=PICTURES, *, loss, config=CONFIG, on=None):
    """Every (state, metrics) of a run on the same pictures; states after the first are the last one's."""
    on = on or devices()
    batches = itertools.repeat(jax.device_put(pictures.reshape(len(on.local), -1, *pictures.shape[1:]), on.split))
    state = on.replicate(jax.tree.map(jnp.array, state))  # a copy: steps donate their state
    return list(stepping.run(state, model, batches, loss=loss, config=config, devices=on))


def test_the_loss_is_the_papers_with_each_term_over_its_variance(tiny_model):
    model = tiny_model.replace(config=dataclasses.replace(tiny_model.config, variances=(2.0, 3.0, 5.0, 1.0, 1.0, 1.0)))
    x = jnp.float32(PICTURES) / 255
    features = model.encode(x, 2)[-1]
    output = model.decode(features, 2)
    pixels = np.square(np.float64(output) - np.float64(x)).mean()
    again = np.square(np.float64(model.encode(output, 2)[-1]) - np.float64(features)).mean()
    loss, parts = reconstruction_loss(model.params["decoder2"], Fixed(model), x, level=2, feature_weight=0.5)
    np.testing.assert_allclose(loss, pixels / 2 + 0.5 * again / 5, rtol=1e-4)
    np.testing.assert_allclose(parts["pixel_loss"], pixels / 2, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_training_lowers_the_loss_and_leaves_the_encoder_alone(tiny_model, optimizer):
    config = dataclasses.replace(CONFIG, steps=60, optimizer=optimizer)
    before = jax.tree.map(np.array, tiny_model.params)
    state = fresh_state(tiny_model, 2, config)
    losses = [float(metrics["loss"]) for _, metrics in train(state, tiny_model, loss=loss_of(2), config=config)]
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
        optimizer = make_optimizer(dataclasses.replace(config, warmup=0))
        update = optimizer.update(grads, optimizer.init(params), params)[0]["conv2_1"]["kernel"]
        singular = np.linalg.svd(np.asarray(update).reshape(-1, shape[-1]), compute_uv=False)
        spreads.append(singular.max() / singular.min())
    assert spreads[1] < 2.5 < spreads[0]


def test_two_devices_give_the_parameters_of_one(tiny_model):
    assert jax.local_device_count() == 2
    results = []
    for count in (1, 2):
        state, metrics = train(fresh_state(tiny_model, 2), tiny_model, loss=loss_of(2), on=devices(count))[-1]
        results.append((jax.tree.map(np.asarray, state.params), float(metrics["loss"])))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), results[0][0], results[1][0])
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-4)


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match="batch 3 cannot be split over 2 devices"):
        devices(2).share(3)
    assert devices(2).share(4) == 4


def test_a_loss_that_is_not_finite_stops_with_the_step_named(tiny_model):
    state = fresh_state(tiny_model, 1)
    state.params["conv1_1"]["bias"] += jnp.inf
    with pytest.raises(FloatingPointError, match=r"the loss is (inf|nan) at step 1$"):
        train(state, tiny_model, loss=loss_of(1), config=dataclasses.replace(CONFIG, steps=2))


def test_parameters_that_are_not_finite_are_never_saved(tiny_model):
    state = fresh_state(tiny_model, 1)
    stepping.check_finite(state, 3)
    state.params["conv1_1"]["bias"] += jnp.nan
    with pytest.raises(FloatingPointError, match="the parameters are not finite after step 3"):
        stepping.check_finite(state, 3)


def test_every_dtype_trains_as_float32_does(tiny_model):
    losses = {}
    for dtype in ("float32", "bfloat16", "float16"):
        config = dataclasses.replace(CONFIG, steps=40, dtype=dtype)
        model = tiny_model.replace(dtype=dtype)
        state, metrics = train(fresh_state(model, 2, config), model, loss=loss_of(2), config=config)[-1]
        losses[dtype] = float(metrics["loss"])
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
        assert {leaf.dtype for name, leaf in metrics.items() if name != "skipped"} == {jnp.dtype("float32")}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)
    assert losses["float16"] == pytest.approx(losses["float32"], rel=0.1)


def test_a_float16_overflow_skips_its_step_halves_the_scale_and_is_counted(tiny_model):
    config = dataclasses.replace(CONFIG, steps=1, warmup=0, dtype="float16")
    model = tiny_model.replace(dtype="float16")
    state = fresh_state(model, 2, config)
    before = jax.tree.map(np.array, (state.params, state.opt_state))
    overflowing = state.replace(scale=state.scale.replace(scale=jnp.float32(2.0**40)))
    ((skipped, metrics),) = train(overflowing, model, loss=loss_of(2), config=config)
    jax.tree.map(np.testing.assert_array_equal, (skipped.params, skipped.opt_state), before)
    assert (int(skipped.step), int(skipped.skipped), int(metrics["skipped"])) == (1, 1, 1)
    assert float(skipped.scale.scale) == 2.0**39
    ((taken, _),) = train(state, model, loss=loss_of(2), config=config)
    assert int(taken.skipped) == 0
    assert (np.asarray(taken.params["conv1_1"]["kernel"]) != before[0]["conv1_1"]["kernel"]).any()


def test_the_average_of_the_weights_is_theirs_from_every_step_with_weights_that_decay(tiny_model):
    config = dataclasses.replace(CONFIG, steps=30, average=0.7)
    state = fresh_state(tiny_model, 2, config)
    one = jax.jit(partial(stepping.train_step, loss=loss_of(2), config=config))
    average = np.asarray(state.params["conv1_1"]["kernel"], np.float64)
    for step in range(config.steps):
        state, _ = one(state, tiny_model, PICTURES)
        keep = min(0.7, (1 + step) / (10 + step))  # by definition
        average = keep * average + (1 - keep) * np.asarray(state.params["conv1_1"]["kernel"])
    np.testing.assert_allclose(state.result["conv1_1"]["kernel"], average, atol=1e-6)
    assert np.abs(state.result["conv1_1"]["kernel"] - state.params["conv1_1"]["kernel"]).max() > 1e-5
    plain = fresh_state(tiny_model, 2)
    assert plain.average is None
    assert plain.result is plain.params


def test_float16_gives_up_when_every_step_overflows():
    watch = stepping.Watch(skipped=0)
    for step in range(1, 100):
        watch.check({"loss": np.inf, "skipped": step}, step)
    with pytest.raises(FloatingPointError, match="overflowed in 100 steps in a row, the last of them step 100"):
        watch.check({"loss": np.inf, "skipped": 100}, 100)


def test_the_sums_of_the_literature_are_sums_of_squares_a_photograph(tiny_model):
    x = jnp.float32(PICTURES) / 255
    features = tiny_model.encode(x, 2)[-1]
    output = tiny_model.decode(features, 2)
    pixels = np.square(np.float64(output) - np.float64(x)).sum() / 4
    again = np.square(np.float64(tiny_model.encode(output, 2)[-1]) - np.float64(features)).sum() / 4
    decoder = tiny_model.params["decoder2"]
    loss, _ = reconstruction_loss(decoder, Fixed(tiny_model), x, level=2, feature_weight=0.5, sums=True)
    np.testing.assert_allclose(loss, pixels + 0.5 * again, rtol=1e-4)


def test_the_recipe_of_the_paper_counts_its_steps_in_epochs():
    paper = RECIPES["paper"]
    assert (paper.optimizer, paper.learning_rate, paper.batch, paper.crop) == ("adam", 1e-4, 128, 256)
    assert paper.with_steps(8000).steps == 500 * 8000 // 128
    assert dataclasses.replace(paper, epochs=1).with_steps(129).steps == 2
    assert dataclasses.replace(paper, steps=7).with_steps(8000).steps == 7


@pytest.mark.parametrize(("schedule", "expected"), [("constant", [0, 0.5, 1, 1, 1]), ("cosine", [0, 0.5, 1, 0.5, 0])])
def test_schedules(schedule, expected):
    config = dataclasses.replace(CONFIG, learning_rate=1.0, steps=8, warmup=2, schedule=schedule)
    found = [float(learning_rate(config)(step)) for step in (0, 1, 2, 5, 8)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_evaluate_averages_over_pictures(tiny_model):
    pictures = np.uint8(255 * np.stack([picture(64, 64, seed) for seed in range(4)]))
    fixed = Fixed(tiny_model, judge=load_judge("alexnet"))

    def metrics_of(pictures):
        x = stepping.to_float(pictures)
        return reconstruction_metrics(tiny_model.params["decoder1"], fixed, x, level=1)

    found = stepping.evaluate(metrics_of, [pictures[:3], pictures[3:]])
    assert found == pytest.approx(stepping.evaluate(metrics_of, [pictures]), rel=1e-4)
    assert set(found) == {"loss", "pixel_loss", "feature_loss", "psnr", "ssim", "lpips"}
    x = jnp.float32(pictures) / 255
    output = jnp.clip(tiny_model.decode(tiny_model.encode(x, 1)[-1], 1), 0, 1)
    distances = [float(content_distance(fixed.judge, a, b)) for a, b in zip(output, x, strict=True)]
    assert found["lpips"] == pytest.approx(np.mean(distances), rel=1e-4)
    with pytest.raises(ValueError, match="no pictures to evaluate on"):
        stepping.evaluate(metrics_of, [])


def test_warm_start_takes_layers_of_the_same_name_and_shape():
    fresh = {"a": {"w": np.zeros(2)}, "b": {"w": np.zeros(3)}, "c": {"w": np.zeros(1)}}
    first = {"a": {"w": np.ones(2)}, "b": {"w": np.ones(4)}}
    second = {"a": {"w": np.full(2, 2)}, "b": {"w": np.full(3, 2)}, "d": {"w": np.ones(1)}}
    result = warm_start(fresh, first, second)
    assert {name: layer["w"][0] for name, layer in result.items()} == {"a": 1, "b": 2, "c": 0}


def test_least_squares_is_the_minimum_of_the_pixel_loss(tiny_model):
    solved = solve_linear_decoder(tiny_model, itertools.repeat(PICTURES), 1)
    x = jnp.float32(PICTURES) / 255

    def pixel_loss(decoder):
        return reconstruction_loss(decoder, Fixed(tiny_model), x, level=1, feature_weight=0.0)[0]

    gradient = jax.grad(pixel_loss)(jax.tree.map(jnp.asarray, solved))
    random = jax.grad(pixel_loss)(tiny_model.params["decoder1"])
    for found, scale in zip(jax.tree.leaves(gradient), jax.tree.leaves(random), strict=True):
        assert np.abs(found).max() < 1e-3 * np.abs(scale).max()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", -1, "steps must be at least 0, not -1"),
        ("crop", 40, "crop must be a multiple of 16, not 40"),
        ("optimizer", "sgd", "optimizer must be one of adam, muon, least-squares, not sgd"),
        ("dtype", "float64", "dtype must be"),
        ("loss", "l1", "loss must be one of variances, sums, not l1"),
        ("schedule", "linear", "schedule must be"),
        ("epochs", 0, "epochs must be at least 1, not 0"),
        ("learning_rate", 0.0, "learning_rate must be positive"),
        ("feature_weight", -1.0, "feature_weight must not be negative"),
        ("perceptual_weight", -1.0, "perceptual_weight must not be negative"),
        ("average", 1.0, "average must be at least 0 and less than 1, not 1.0"),
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
    steps = train(stepping.init_state(bridge, config), tiny_model, loss=partial(bridge_loss, level=3), config=config)
    assert float(steps[-1][1]["loss"]) < 0.5 * float(steps[0][1]["loss"])
