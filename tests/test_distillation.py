import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_training import CONFIG, PICTURES, train

from uwct.networks.config import LEVELS
from uwct.networks.model import Model
from uwct.training import distillation, stepping

X = jnp.float32(PICTURES) / 255


@pytest.fixture
def narrow(tiny_model):
    """The config of a student of about half the tiny model's channels."""
    blocks = tuple(tuple(width // 2 for width in block) for block in tiny_model.config.blocks)
    return dataclasses.replace(tiny_model.config, backbone="narrow", blocks=blocks)


def test_a_student_as_wide_as_its_teacher_predicts_it_exactly(tiny_model):
    params = distillation.init_student(tiny_model, tiny_model.config)
    loss, metrics = distillation.distillation_loss(params, tiny_model, X, config=tiny_model.config)
    assert set(metrics) == {"loss", *(f"features{level}" for level in LEVELS)}
    assert float(loss) < 1e-10


def test_a_student_starts_from_the_filters_of_largest_l1_norm(tiny_model, narrow):
    params = distillation.init_student(tiny_model, narrow)
    first, second = (tiny_model.params["encoder"][name]["kernel"] for name in ("conv1_1", "conv1_2"))
    best = sorted(range(8), key=lambda i: -float(np.abs(first[..., i]).sum()))[:4]
    found = params["encoder"]["conv1_1"]["kernel"]
    np.testing.assert_array_equal(found, np.asarray(first)[..., sorted(best)])
    norms = [float(np.abs(second[..., i]).sum()) for i in range(8)]
    kept = sorted(sorted(range(8), key=lambda i: -norms[i])[:4])
    np.testing.assert_array_equal(
        params["encoder"]["conv1_2"]["kernel"], np.asarray(second)[:, :, sorted(best)][..., kept]
    )
    np.testing.assert_array_equal(params["maps"]["map1"]["kernel"][0, 0], np.eye(8)[sorted(best)])


def test_the_loss_is_the_sum_of_all_judges_errors_over_their_variances(tiny_model, narrow):
    units = (2.0, 3.0, 5.0, 7.0, 11.0, 13.0)
    teacher = tiny_model.replace(config=dataclasses.replace(tiny_model.config, variances=units))
    params = distillation.init_student(teacher, narrow)
    params |= distillation.init_decoders(jax.random.key(0), narrow)
    params = jax.tree.map(lambda p: p + 0.01, params)  # decoders start at 0 pictures
    loss, metrics = distillation.distillation_loss(params, teacher, X, config=narrow)
    student = Model(params, narrow)
    expected = 0.0
    for level, wanted, found in zip(LEVELS, teacher.encode(X), student.encode(X), strict=True):
        linear = params["maps"][f"map{level}"]
        guess = np.einsum("nhwc,cd->nhwd", np.float64(found), np.float64(linear["kernel"][0, 0])) + linear["bias"]
        terms = {"features": np.square(guess - wanted).mean() / units[level]}
        terms["teacher"] = np.square(np.float64(teacher.decode(jnp.float32(guess), level)) - X).mean() / 2
        terms["own"] = np.square(np.float64(student.decode(found, level)) - X).mean() / 2
        for name, value in terms.items():
            np.testing.assert_allclose(metrics[f"{name}{level}"], value, rtol=1e-3)
        expected += sum(terms.values())
    np.testing.assert_allclose(loss, expected, rtol=1e-3)


def test_distilling_brings_the_student_nearer_and_leaves_the_teacher_alone(tiny_model, narrow):
    before = jax.tree.map(np.array, tiny_model.params)
    config = dataclasses.replace(CONFIG, steps=60, optimizer="muon")
    params = distillation.init_student(tiny_model, narrow)
    params |= distillation.init_decoders(jax.random.key(0), narrow)
    loss = partial(distillation.distillation_loss, config=narrow)
    steps = train(stepping.init_state(params, config), tiny_model, loss=loss, config=config)
    first, last = steps[0][1], steps[-1][1]
    assert float(last["loss"]) < 0.5 * float(first["loss"])
    for judge in ("features", "teacher", "own"):
        was, became = (sum(float(metrics[f"{judge}{level}"]) for level in LEVELS) for metrics in (first, last))
        assert became < was
    jax.tree.map(np.testing.assert_array_equal, tiny_model.params, before)


def test_a_finished_student_is_normalised_and_reconstructs_as_before(tiny_model, narrow):
    params = distillation.init_student(tiny_model, narrow)
    params |= distillation.init_decoders(jax.random.key(0), narrow)
    params = jax.tree.map(lambda p: p + 0.01, params)
    before, model = Model(params, narrow), distillation.finish(params, narrow, lambda: [np.asarray(X)])
    for level in LEVELS:
        features = model.encode(X, level)[-1]
        raw = np.asarray(before.encode(X, level)[-1].mean((0, 1, 2)))
        expected = np.where(raw < 0.03 * raw.mean(), raw, 1)  # what hardly ever fires keeps its scale
        assert (expected == 1).any()
        np.testing.assert_allclose(features.mean((0, 1, 2)), expected, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(model.config.variances[level], features.var((0, 1, 2)).mean(), rtol=1e-3)
        wanted = before.decode(before.encode(X, level)[-1], level)
        np.testing.assert_allclose(model.decode(features, level), wanted, atol=1e-3)
    np.testing.assert_allclose(model.config.variances[0], X.var((0, 1, 2)).mean(), rtol=1e-3)


def test_a_student_must_be_its_teacher_made_narrow(tiny_model):
    wider = dataclasses.replace(tiny_model.config, blocks=((9, 8), *tiny_model.config.blocks[1:]))
    with pytest.raises(ValueError, match="conv1_1 has 9 channels, more than the teacher's 8"):
        distillation.init_student(tiny_model, wider)
    other = dataclasses.replace(tiny_model.config, blocks=((8,), *tiny_model.config.blocks[1:]))
    with pytest.raises(ValueError, match=r"the student's blocks .* are not the teacher's .* made narrow"):
        distillation.init_student(tiny_model, other)
