"""Programs for elsewhere, run there: ONNX by ONNX Runtime, StableHLO by JAX, beside what uwct itself computes."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from conftest import picture
from jax import export as jax_export

import uwct
from uwct.cli.export import main
from uwct.export import painting, roots, stablehlo
from uwct.export.graph import Graph
from uwct.networks.model import save
from uwct.pipeline.presets import PRESETS
from uwct.transforms.matching import TRANSFORMS

PAINT = PRESETS["paint"]
LIMITS = {"atol": 1e-3}  # where white is 1


def loaded(model):
    """A session of a graph, or of a file."""
    return onnxruntime.InferenceSession(model if isinstance(model, str | bytes) else model.SerializeToString())


def run(session, **inputs):
    return session.run(None, {name: np.float32(value) for name, value in inputs.items()})


def by_uwct(model, photo, style, look, alphas=None):
    style = style if isinstance(style, uwct.pipeline.styles.Style) else jnp.asarray(style)
    how = {"transform": TRANSFORMS[look.transform], "shrinkage": look.shrinkage}
    return uwct.stylize(model, jnp.asarray(photo), style, look.levels, alphas or look.alpha, **how)


@pytest.fixture(scope="module")
def any_style(tiny_model):
    return loaded(painting.painter(tiny_model, PAINT))


@pytest.mark.parametrize(("height", "width", "style_height"), [(32, 48, 64), (33, 32, 47), (63, 50, 90)])
def test_onnx_runtime_paints_what_uwct_paints_at_any_size(tiny_model, any_style, height, width, style_height):
    photo, style = picture(height, width, 1), picture(style_height, 40, 2)
    alphas = (0.9, 0.5, 0, 0.3)
    (found,) = run(any_style, photo=photo, style=style, alphas=alphas)
    np.testing.assert_allclose(found, by_uwct(tiny_model, photo, style, PAINT, alphas), **LIMITS)
    assert np.abs(found - run(any_style, photo=photo, style=style, alphas=PAINT.alpha)[0]).max() > 0.01


def test_the_shipped_model_and_a_preset_with_all_levels():
    model, look = uwct.load("small"), PRESETS["texture"]
    assert model.config.encoders  # one a level, unlike the tiny model's
    photo, style = picture(48, 64, 1), picture(64, 48, 2)
    graph = painting.painter(model, look)
    assert len(graph.SerializeToString()) < 7.5e6  # in 16 bits, as its own file
    (found,) = run(loaded(graph), photo=photo, style=style, alphas=look.alpha)
    np.testing.assert_allclose(found, by_uwct(model, photo, style, look), **LIMITS)


def test_a_style_becomes_part_of_the_graph(tiny_model):
    photo, rgb = picture(40, 56, 1), picture(45, 33, 2)
    style = uwct.encode_style(tiny_model, jnp.asarray(rgb))
    session = loaded(painting.painter(tiny_model, PAINT, style))
    assert [given.name for given in session.get_inputs()] == ["photo", "alphas"]
    (found,) = run(session, photo=photo, alphas=PAINT.alpha)
    np.testing.assert_allclose(found, by_uwct(tiny_model, photo, rgb, PAINT), **LIMITS)


def test_levels_by_themselves_are_the_whole(tiny_model, any_style):
    photo, style = picture(40, 56, 1), picture(45, 33, 2)
    observer = loaded(painting.observer(tiny_model, PAINT))
    names = [found.name for found in observer.get_outputs()]
    kept = dict(zip(names, run(observer, style=style), strict=True))
    result = photo
    for level, alpha in zip(PAINT.levels, PAINT.alpha, strict=True):
        session = loaded(painting.level_painter(tiny_model, PAINT, level))
        target = {"mean": kept[f"mean{level}"], "cov": kept[f"cov{level}"]}
        (result,) = run(session, photo=result, alphas=[alpha], **target)
    (whole,) = run(any_style, photo=photo, style=style, alphas=PAINT.alpha)
    np.testing.assert_allclose(result, whole, atol=1e-5)


def test_the_transform_of_the_paper(tiny_model):
    look = dataclasses.replace(PAINT, transform="wct", shrinkage=0.1)
    photo, style = picture(40, 56, 1), picture(45, 33, 2)
    (found,) = run(loaded(painting.painter(tiny_model, look)), photo=photo, style=style, alphas=look.alpha)
    np.testing.assert_allclose(found, by_uwct(tiny_model, photo, style, look), **LIMITS)


def test_flat_pictures_stay_flat(any_style):
    """At level 4, with strength 1, the style's mean is all that is left; rounding is not blown up to something."""
    flat, other = np.full((32, 48, 3), 0.3), picture(40, 56, 1)
    for photo, style in ((flat, other), (other, flat), (flat, flat)):
        (found,) = run(any_style, photo=photo, style=style, alphas=(1, *PAINT.alpha[1:]))
        assert np.ptp(found, (0, 1)).max() < 1e-3


def test_steps_are_enough_for_every_spread_that_shrinkage_leaves(rng):
    for least in (0.3 / 512, (0.3 / 192) ** 2):
        x = np.geomspace(least, 1, 50)
        y, z = x, np.ones(50)
        for _ in range(roots.steps(least)):
            t = (3 - z * y) / 2
            y, z = y * t, t * z
        np.testing.assert_allclose(y, np.sqrt(x), rtol=1e-6)
        np.testing.assert_allclose(z, 1 / np.sqrt(x), rtol=1e-6)


@pytest.mark.parametrize("pixels", [2, 20])
def test_monge_of_few_pixels_in_many_channels(pixels):
    """Two pixels vary along one direction, and the rest of the product is less than rounding: once it became NaN."""
    channels, shrinkage = 512, 0.05
    x = np.maximum(np.random.default_rng(pixels).normal(size=(pixels, channels)), 0)
    graph = Graph()
    content, style = (graph.input(name, (channels, channels)) for name in ("content", "style"))
    graph.output(roots.matrix(content, style, channels, "monge", shrinkage), "map", (channels, channels))
    cov = np.cov(x.T)
    (found,) = run(loaded(graph.model("", {})), content=cov, style=1.7 * cov)
    shrunk = (1 - shrinkage) * cov + shrinkage * np.trace(cov) / channels * np.eye(channels)
    moved = found @ shrunk @ found.T
    assert np.linalg.norm(moved - 1.7 * shrunk) < 0.1 * np.linalg.norm(shrunk)


@pytest.mark.parametrize("free", [True, False])
def test_stablehlo_paints_at_any_size_with_nothing_but_itself(tiny_model, free):
    rgb, look = picture(48, 32, 2), dataclasses.replace(PAINT, levels=(3, 1), alpha=(0.8, 0.5))
    style = None if free else uwct.encode_style(tiny_model, jnp.asarray(rgb))
    data = stablehlo.painter(tiny_model, look, style).serialize()
    program = jax_export.deserialize(data)
    # What checks sides is no call: compilers replace it. Decompositions would be calls of one platform's library.
    assert set(re.findall(r"custom_call @(\w+)", program.mlir_module())) <= {"shape_assertion"}
    for height in (32, 64):
        photo = picture(height, 48, 1)
        found = program.call(photo, *([rgb] if free else []), jnp.float32(look.alpha))
        np.testing.assert_allclose(found, by_uwct(tiny_model, photo, rgb, look), **LIMITS)


def test_stablehlo_of_a_model_in_16_bits_gives_float32(tiny_model):
    program = stablehlo.painter(
        tiny_model.replace(dtype="bfloat16"), dataclasses.replace(PAINT, levels=(1,), alpha=(0.5,))
    )
    assert [str(given) for given in program.out_avals] == ["float32[16*h,16*w,3]"]


def test_the_command(folder, capsys):
    photo = picture(40, 56, 1)
    words = ["--model", "tiny.safetensors", "--levels", "2", "1", "--alpha", "0.7", "0.2"]
    main(["--style", "a.png", "--output", "given.onnx", *words])
    assert "in the style of a.png -> given.onnx" in capsys.readouterr().out
    model = uwct.load("tiny.safetensors")
    rgb = uwct.pictures.images.read("a.png")
    rgb = uwct.pictures.images.resize(rgb, uwct.pictures.images.fitted(rgb.rgb.shape[:2], PAINT.style_size)).rgb
    session = loaded("given.onnx")
    assert session.get_modelmeta().custom_metadata_map["levels"] == "2 1"
    assert session.get_modelmeta().custom_metadata_map["alphas"] == "0.7 0.2"
    look = dataclasses.replace(PAINT, levels=(2, 1), alpha=(0.7, 0.2))
    (found,) = run(session, photo=photo, alphas=look.alpha)
    np.testing.assert_allclose(found, by_uwct(model, photo, rgb, look), **LIMITS)
    main(["--format", "stablehlo", "--output", "any.stablehlo", *words])
    program = jax_export.deserialize((folder / "any.stablehlo").read_bytes())
    assert [str(given) for given in program.in_avals][1] == "float32[16*sh,16*sw,3]"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--shrinkage 0", "a shrinkage of at least 0.05, not 0"),
        ("--transform adain", "the transforms monge and wct can be exported, not adain"),
        ("--photo", "--photo cannot be exported"),
        ("--style none.png", "there is no picture none.png"),
        ("--style bad.png", "bad.png is not a picture"),
        ("--output no/out.{0}", "the output folder no does not exist"),
        ("--output ./in.{0} --style in.{0}", "--output would overwrite in."),
        ("--output out.jpg", "out.jpg must end in ."),
        ("--output folder.{0}", "is a folder; name a file to write"),
        ("--style-size 256", "--style-size is that of --style"),
    ],
)
@pytest.mark.parametrize("form", ["onnx", "stablehlo"])
def test_bad_input_is_one_sentence(folder, capsys, words, sentence, form):
    (folder / "bad.png").write_text("no picture")
    (folder / f"folder.{form}").mkdir()
    before = set(folder.iterdir())
    output = [] if "--output" in words else ["--output", f"out.{form}"]
    with pytest.raises(SystemExit) as stop:
        main([*words.format(form).split(), *output, "--format", form, "--model", "tiny.safetensors"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert set(folder.iterdir()) == before


def test_weights_that_16_bits_do_not_hold_stay_whole(tiny_model, tmp_path):
    save(tiny_model, tmp_path / "half.safetensors", dtype="float16")
    halved = uwct.load(tmp_path / "half.safetensors")
    sizes = [len(painting.painter(each, PAINT).SerializeToString()) for each in (halved, tiny_model)]
    assert sizes[0] < sizes[1]
