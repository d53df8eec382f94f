import dataclasses
import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from safetensors.numpy import load_file, save_file

from uwct import load
from uwct.networks.config import ModelConfig, vgg16
from uwct.networks.model import backbone, read_file, save, training_history


def test_a_saved_model_loads_as_it_was(tiny_model, tmp_path):
    save(tiny_model, tmp_path / "m.safetensors", metadata={"training": json.dumps({"decoder1": {"date": "today"}})})
    loaded = load(tmp_path / "m.safetensors", dtype="bfloat16")
    assert loaded.config == TINY
    assert loaded.dtype == "bfloat16"
    assert loaded.levels == (1, 2, 3, 4, 5)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, tiny_model.params)
    assert training_history(tmp_path / "m.safetensors") == {"decoder1": {"date": "today"}}


def test_float16_files_load_as_float32(tiny_model, tmp_path):
    save(tiny_model, tmp_path / "m.safetensors", dtype="float16")
    for a, b in zip(
        jax.tree.leaves(load(tmp_path / "m.safetensors").params), jax.tree.leaves(tiny_model.params), strict=True
    ):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_every_fault_of_a_file_is_listed_at_once(tiny_model, tmp_path):
    path = tmp_path / "m.safetensors"
    save(tiny_model, path)
    tensors = load_file(path)
    del tensors["encoder/conv1_1/bias"]
    tensors["decoder2/conv9_9/bias"] = np.zeros(3, np.float32)
    tensors["decoder3/conv3_1/bias"] = np.zeros(5, np.float32)
    tensors["decoder4/conv4_1/bias"] = np.full(9, np.nan, np.float32)
    save_file(tensors, path, metadata={"config": TINY.to_json()})
    with pytest.raises(ValueError, match="not a whole model") as error:
        load(path)
    for fault in (
        "encoder/conv1_1/bias is missing",
        "decoder2/conv9_9/bias is unknown",
        "decoder3/conv3_1/bias has shape [5], not [6]",
        "decoder4/conv4_1/bias is not finite",
    ):
        assert fault in str(error.value)


def test_files_that_are_no_models_are_refused(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load(tmp_path / "text")
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "foreign")
    with pytest.raises(ValueError, match="holds no config"):
        load(tmp_path / "foreign")
    with pytest.raises(FileNotFoundError, match="no model called nothing"):
        load("nothing")
    with pytest.raises(ValueError, match="dtype must be"):
        load("vgg16", dtype="int8")


def test_parameters_that_are_not_finite_are_not_saved(tiny_model, tmp_path):
    large = jax.tree.map(lambda x: 1e6 * x, tiny_model)
    save(large, tmp_path / "whole.safetensors")
    with pytest.raises(ValueError, match="not finite in float16; the model is not saved"):
        save(large, tmp_path / "half.safetensors", dtype="float16")
    assert [p.name for p in tmp_path.iterdir()] == ["whole.safetensors"]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tiny_model, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    path.write_text("old")

    def full_disk(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(tiny_model, path)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_config_survives_json_and_is_validated():
    config = dataclasses.replace(vgg16(0.5), variances=(1, 2, 3, 4, 5, 6))
    assert ModelConfig.from_json(config.to_json()) == config
    with pytest.raises(ValueError, match="not the config"):
        ModelConfig.from_json('{"colour": "blue"}')
    with pytest.raises(ValueError, match=r"decoder_width must lie in \(0, 1\]"):
        vgg16(1.5)
    with pytest.raises(ValueError, match="five non-empty tuples"):
        ModelConfig("hollow", ((4,), ()))
    with pytest.raises(ValueError, match="five non-empty tuples"):
        ModelConfig("long", ((4,),) * 6)
    with pytest.raises(ValueError, match="must not be empty"):
        ModelConfig("nothing", ())
    with pytest.raises(ValueError, match="the encoder of level X must have X blocks"):
        ModelConfig("own", ((4,),), encoders=(((4,), (4,)),))


def test_saved_tensors_are_those_of_the_model_however_they_lie_in_memory(tiny_model, tmp_path):
    turned = jax.tree.map(lambda x: np.asarray(x).T.copy().T, tiny_model.params)
    save(tiny_model.replace(params=turned), tmp_path / "m.safetensors")
    jax.tree.map(np.testing.assert_array_equal, load(tmp_path / "m.safetensors").params, tiny_model.params)


def test_variances_are_validated():
    with pytest.raises(ValueError, match="six positive numbers"):
        dataclasses.replace(TINY, variances=(1.0,))


def test_the_embedded_model_has_all_levels_and_says_how_it_was_made():
    model = load("vgg16")
    assert model.levels == (1, 2, 3, 4, 5)
    history = training_history("vgg16")
    assert set(history) == {f"decoder{level}" for level in model.levels}
    assert all(record["command"].startswith("python train.py") for record in history.values())


def test_a_file_without_an_encoder_takes_its_backbones(tmp_path):
    model = backbone("vgg16", decoder_width=0.5)
    save(model, tmp_path / "m.safetensors", encoder=False)
    assert read_file(tmp_path / "m.safetensors")[0] == {}
    jax.tree.map(np.testing.assert_array_equal, load(tmp_path / "m.safetensors").params, model.params)
    with pytest.raises(FileNotFoundError, match="there is no model called resnet"):
        backbone("resnet")
    own_path = tmp_path / "loop.safetensors"
    config = dataclasses.replace(model.config, backbone=str(own_path))
    save(model.replace(config=config), own_path, encoder=False)
    with pytest.raises(ValueError, match="holds no encoder, and none comes with uwct for its backbone"):
        backbone(own_path)


def test_a_transposed_picture_is_seen_as_the_picture_transposed(tiny_model, rng):
    x = jnp.asarray(rng.random((32, 48, 3)), "float32")
    model = tiny_model.transposed
    for found, expected in zip(model.encode(x.swapaxes(0, 1)), tiny_model.encode(x), strict=True):
        np.testing.assert_allclose(found.swapaxes(0, 1), expected, atol=1e-5)
    features = tiny_model.encode(x, 4)[-1]
    found, expected = model.decode(features.swapaxes(0, 1), 4), tiny_model.decode(features, 4)
    np.testing.assert_allclose(found.swapaxes(0, 1), expected, atol=1e-5)


def test_what_was_transposed_is_not_pickled(tiny_model):
    fresh = tiny_model.replace(dtype="bfloat16")
    before = pickle.dumps(fresh)
    assert fresh.transposed.config == fresh.config
    assert len(pickle.dumps(fresh)) == len(before)
    again = pickle.loads(pickle.dumps(fresh))
    assert (again.dtype, again.config) == ("bfloat16", TINY)
    jax.tree.map(np.testing.assert_array_equal, again.params, tiny_model.params)


def test_a_missing_decoder_is_named(tiny_model):
    model = tiny_model.replace(params={k: v for k, v in tiny_model.params.items() if k != "decoder4"})
    with pytest.raises(ValueError, match=r"no decoder for level 4 \(it has: 1, 2, 3, 5\)"):
        model.check_levels((5, 4))
