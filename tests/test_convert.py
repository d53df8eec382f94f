import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture

from uwct.networks import lpips_jax
from uwct.networks.config import vgg16
from uwct.networks.normalisation import mean_activations, normalise, variances
from uwct.networks.vgg import Encoder


def write(path, value):
    path.write_bytes(pickle.dumps(value))
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


class Attack:
    def __reduce__(self):
        return os.system, ("touch /tmp/uwct-was-attacked",)


def test_nothing_but_arrays_is_unpickled(tmp_path):
    digest = write(tmp_path / "evil", {"VGG16_0": Attack()})
    with pytest.raises(pickle.UnpicklingError, match=r"only NumPy arrays are allowed"):
        lpips_jax.read_arrays(tmp_path / "evil", digest)
    assert not os.path.exists("/tmp/uwct-was-attacked")


def test_another_file_is_refused_before_it_is_read(tmp_path):
    write(tmp_path / "other", {"VGG16_0": Attack()})
    with pytest.raises(ValueError, match="SHA-256"):
        lpips_jax.read_arrays(tmp_path / "other", lpips_jax.SHA256["vgg16"])


def test_the_file_is_found_without_importing_its_package():
    program = "import sys; from uwct.networks import lpips_jax; print(lpips_jax.find_file('vgg16').name, *sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    name, *modules = result.stdout.split()
    assert name == "vgg16.ckpt"
    assert "uwct.networks.lpips_jax" in modules
    assert "lpips_jax" not in modules


def test_folded_preprocessing_is_exact():
    x = picture(16, 16).astype(np.float64)
    params = lpips_jax.encoder_params()
    raw = lpips_jax.network_params("vgg16")["VGG16_0"]["Conv_0"]
    padded = np.pad((x - lpips_jax.MEAN) / lpips_jax.STD, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    expected = (
        sum(padded[i : i + 16, j : j + 16] @ raw["kernel"][i, j] for i in range(3) for j in range(3)) + raw["bias"]
    )
    relu1_1 = Encoder(vgg16().blocks).apply({"params": params}, jnp.float32(x), 1)[0]
    np.testing.assert_allclose(relu1_1, np.maximum(expected, 0), atol=1e-4)


def batches():
    return [np.stack([picture(32, 32, seed) for seed in range(i, i + 2)]) for i in (0, 2)]


def test_normalisation_makes_mean_activations_one_and_only_scales_channels(tiny_model):
    blocks, params = tiny_model.config.blocks, tiny_model.params["encoder"]
    means = mean_activations(blocks, params, batches())
    scaled = normalise(params, means)
    for name, mean in mean_activations(blocks, scaled, batches()).items():
        np.testing.assert_allclose(mean[means[name] > 0], 1, rtol=1e-3)
        np.testing.assert_array_equal(mean[means[name] == 0], 0)
    x = jnp.asarray(batches()[0])
    plain, normal = (Encoder(blocks).apply({"params": p}, x) for p in (params, scaled))
    for level, (a, b) in enumerate(zip(plain, normal, strict=True), start=1):
        scale = np.where(means[f"conv{level}_1"] > 0, means[f"conv{level}_1"], 1)
        np.testing.assert_allclose(a, b * scale, rtol=1e-3, atol=1e-4 * np.abs(a).max())


def test_normalisation_knows_the_order_of_more_than_nine_layers():
    """By their names conv1_10 came before conv1_2."""
    blocks = ((4,) * 11,)
    params = Encoder(blocks).init(jax.random.key(0), jnp.asarray(batches()[0]))["params"]
    scaled = normalise(params, mean_activations(blocks, params, batches()))
    for mean in mean_activations(blocks, scaled, batches()).values():
        np.testing.assert_allclose(mean[mean > 0], 1, rtol=1e-3)


def test_normalise_refuses_means_of_other_layers(tiny_model):
    with pytest.raises(ValueError, match="means are given for"):
        normalise(tiny_model.params["encoder"], {"conv1_1": np.ones(4)})


def test_variances_agree_with_numpy(tiny_model):
    x = np.concatenate(batches())
    maps = [x, *Encoder(tiny_model.config.blocks).apply({"params": tiny_model.params["encoder"]}, jnp.asarray(x))]
    expected = [np.var(np.asarray(m, np.float64).reshape(-1, m.shape[-1]), axis=0).mean() for m in maps]
    found = variances(tiny_model.config.blocks, tiny_model.params["encoder"], batches())
    np.testing.assert_allclose(found, expected, rtol=1e-3)
