"""Programs take the form of their platform, and are compiled quickly only where they stand alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uwct.transforms import programs
from uwct.transforms.programs import by_platform, quick_jit

X = np.float32([[1, 2, 3], [4, 5, 6]])
SEEN: list[str] = []


def for_cpu(x, power):
    SEEN.append("cpu")
    return {"sum": x.sum(-1) ** power, "twice": 2 * x}


def for_others(x, power):
    SEEN.append("default")
    return {"sum": x.sum(-1) ** power, "twice": 2 * x + jnp.sin(0 * x)}


def either(x):
    like = {"sum": jax.ShapeDtypeStruct(x.shape[:-1], x.dtype), "twice": jax.ShapeDtypeStruct(x.shape, x.dtype)}
    return by_platform(x, cpu=for_cpu, default=for_others, static=(2,), like=like)


@pytest.mark.parametrize("mapped", [either, jax.jit(either), jax.vmap(either), jax.jit(jax.vmap(either))])
def test_a_cpu_computes_its_own_form_alone(mapped):
    SEEN.clear()
    found = mapped(X)
    np.testing.assert_array_equal(found["sum"], [36, 225])
    np.testing.assert_array_equal(found["twice"], 2 * X)
    assert "default" not in SEEN


@pytest.mark.parametrize("mapped", [either, jax.vmap(either)])
def test_each_platform_gets_its_form(mapped):
    traced = jax.jit(mapped).trace(X)
    texts = {name: traced.lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "cuda", "tpu")}
    found = {name: "sine" in text for name, text in texts.items()}
    assert found == {"cpu": False, "cuda": True, "tpu": True}
    every = jax.export.export(jax.jit(mapped), platforms=("cpu", "cuda", "tpu"))(X)
    np.testing.assert_array_equal(every.call(X)["sum"], [36, 225])


def test_a_second_call_compiles_nothing(caplog):
    mapped = jax.vmap(either)
    mapped(X)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        jax.vmap(either)(X + 1)  # of NumPy, so that nothing else is compiled
    assert not [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()]


def test_without_jit_it_is_the_same():
    with jax.disable_jit():
        np.testing.assert_array_equal(either(X)["sum"], [36, 225])


def of_rows(x, scale, *, name):
    return scale * jnp.sin(x).sum(-1)


quick = quick_jit("name", small=lambda x, scale, *, name: name == "small")(of_rows)


@pytest.mark.parametrize("name", ["small", "large"])
def test_quick_programs_go_into_others(name):
    """JAX refuses compiler options in a program that is part of another."""
    expected, slope = 3 * np.sin(X).sum(-1), 3 * np.cos(X)

    def by_rows(x, scale, name):
        return jax.vmap(lambda row: quick(row, scale, name=name))(x)

    for function in (quick, jax.jit(quick, static_argnames="name"), by_rows):
        np.testing.assert_allclose(function(X, 3.0, name=name), expected, rtol=1e-5)
    gradient = jax.grad(lambda x: quick(x, 3.0, name=name).sum())
    np.testing.assert_allclose(gradient(X), slope, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(gradient)(X), slope, rtol=1e-5)
    constant = jax.jit(lambda: quick(X, 3.0, name=name))  # nothing that is traced goes in
    np.testing.assert_allclose(constant(), expected, rtol=1e-5)


def test_only_small_programs_alone_are_compiled_quickly(monkeypatch):
    options = []
    jit = jax.jit

    def recorded(function, **kwargs):
        compiled = jit(function, **kwargs)

        def call(*args, **words):
            options.append(kwargs.get("compiler_options"))
            return compiled(*args, **words)

        return call

    monkeypatch.setattr(programs.jax, "jit", recorded)
    function = quick_jit("name", small=lambda x, scale, *, name: name == "small")(of_rows)
    function(X, 3.0, name="small")
    function(X, 3.0, name="large")
    jax.grad(lambda x: function(x, 3.0, name="small").sum())(X)
    assert options == [programs.QUICK, None, None]
