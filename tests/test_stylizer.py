"""The callable that data programs hand to workers: what it draws depends on seed and key alone."""

import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from PIL import Image

import uwct
from uwct.datasets import stylizer as module
from uwct.pictures import images
from uwct.pipeline.presets import PRESETS

SIZES = [(24, 30), (32, 48), (24, 30), (17, 33), (32, 48)]
KEYS = ["a/1", "a/2", "b/1", "b/2", "c"]


@pytest.fixture
def pictures():
    return [np.uint8(255 * picture(*size, seed)) for seed, size in enumerate(SIZES)]


@pytest.fixture
def styles(folder):
    Path("styles/deep").mkdir(parents=True)
    Path("a.png").rename("styles/a.png")
    Path("b.png").rename("styles/deep/b.png")
    return folder


def stylizer(**settings):
    return uwct.Stylizer("styles", "store", "tiny.safetensors", **{"levels": (1, 2), "style_size": 32, **settings})


def rows(result):
    return {key: (image, style, strength) for key, image, style, strength in zip(
        result["key"], result["image"], result["style"], result["strength"], strict=True)}  # fmt: skip


def same(one, other):
    assert one[1:] == other[1:]
    np.testing.assert_array_equal(one[0], other[0])


def test_results_are_those_of_stylize_for_what_was_drawn(styles, tiny_model, pictures):
    result = stylizer(mixed=2)({"key": KEYS, "image": pictures, "label": np.arange(5)})
    assert list(result["label"]) == [0, 1, 2, 3, 4]
    assert set(result["seed"]) == {0}
    assert len({tuple(names) for names in result["style"]}) > 1
    for i, content in enumerate(pictures):
        assert 0.6 <= result["strength"][i] <= 1
        chosen = [images.read(Path("styles", name)) for name in result["style"][i]]
        sized = [images.resize(p, images.fitted(p.rgb.shape[:2], 32)).rgb for p in chosen]
        how = {"weights": result["weight"][i], "transform": uwct.monge, "shrinkage": 0.3}
        alone = uwct.stylize(tiny_model, content / np.float32(255), sized, (2, 1), result["strength"][i], **how)
        assert result["image"][i].dtype == np.uint8
        assert np.abs(result["image"][i] - 255.0 * np.clip(alone, 0, 1)).max() <= 1.5


def test_neither_place_nor_batch_nor_worker_matters(styles, pictures):
    made = stylizer()
    whole = rows(made({"key": KEYS, "image": pictures}))
    for i in (4, 2, 0):
        alone = made({"key": [KEYS[i]], "image": pictures[i][None]})
        assert isinstance(alone["image"], np.ndarray)
        same(rows(alone)[KEYS[i]], whole[KEYS[i]])
    backwards = rows(pickle.loads(pickle.dumps(made))({"key": KEYS[::-1], "image": pictures[::-1]}))
    for key in KEYS:
        same(backwards[key], whole[key])
    other = rows(stylizer(seed=1)({"key": KEYS, "image": pictures}))
    assert sum(other[key][2] != whole[key][2] for key in KEYS) == 5


def test_it_is_small_to_pickle_also_after_use(styles, pictures):
    made = stylizer()
    made({"key": KEYS[:1], "image": pictures[:1]})
    assert len(pickle.dumps(made)) < 2000
    assert pickle.loads(pickle.dumps(made)) == made


def test_another_process_makes_the_same(styles, pictures):
    program = """
import pickle, sys
made, batch = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps(made(batch)))
"""
    batch = {"key": KEYS[:2], "image": pictures[:2]}
    given = pickle.dumps((stylizer(), batch))
    ran = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, check=True)
    here, there = stylizer()(batch), pickle.loads(ran.stdout)
    assert here["style"] == there["style"]
    for one, other in zip(here["image"], there["image"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_pictures_of_different_sizes_are_painted_together(styles, pictures, monkeypatch):
    canvases = []
    real = module.as_drawn_on_canvas
    monkeypatch.setattr(
        module, "as_drawn_on_canvas", lambda model, c, *rest: canvases.append(c.shape) or real(model, c, *rest)
    )
    together = rows(stylizer(together=4)({"key": KEYS, "image": pictures}))
    assert canvases == [(4, 32, 32, 3), (4, 32, 48, 3)]  # 24x30; 32x48 and 17x33: two programs for three sizes
    alone = rows(stylizer()({"key": KEYS, "image": pictures}))
    assert [shape[0] for shape in canvases[2:]] == [1] * 5
    for key in KEYS:
        assert together[key][1:] == alone[key][1:]
        assert np.abs(np.int16(together[key][0]) - alone[key][0]).max() <= 1


def test_a_coarser_grid_shares_programs_and_changes_edges_only(styles, pictures, monkeypatch):
    shapes = set()
    real = module.as_drawn_on_canvas
    monkeypatch.setattr(
        module, "as_drawn_on_canvas", lambda model, c, *rest: shapes.add(c.shape) or real(model, c, *rest)
    )
    coarse = stylizer(grid=64)({"key": KEYS, "image": pictures})
    assert shapes == {(1, 64, 64, 3)}
    fine = stylizer()({"key": KEYS, "image": pictures})
    for one, other, given in zip(coarse["image"], fine["image"], pictures, strict=True):
        assert one.shape == given.shape
        inside = np.abs(np.int16(one) - other)[: given.shape[0] // 2, : given.shape[1] // 2]
        assert inside.mean() < 3


def test_copies_and_a_share_left_plain(styles, pictures):
    made = stylizer(copies=20, plain=0.5)
    result = made({"key": KEYS[:2], "image": pictures[:2], "label": ["cat", "dog"]})
    assert result["key"][:21:20] == ["a/1_0", "a/2_0"]
    assert result["label"] == ["cat"] * 20 + ["dog"] * 20
    plain = [not names for names in result["style"]]
    assert 10 < sum(plain) < 30
    for i, left in enumerate(plain):
        assert np.array_equal(result["image"][i], pictures[i // 20]) == left
        assert (result["strength"][i] == 0) == left


def test_presets_give_levels_strengths_of_their_own(styles, tiny_model, pictures):
    result = stylizer(preset="shallow", alpha=(0.5, 0.5))({"key": KEYS[:1], "image": pictures[:1]})
    (names,) = result["style"]
    shown = images.read(Path("styles", names[0]))
    shown = images.resize(shown, images.fitted(shown.rgb.shape[:2], PRESETS["shallow"].style_size)).rgb
    how = {"transform": uwct.monge, "shrinkage": 0.3}
    expected = uwct.stylize(tiny_model, pictures[0] / np.float32(255), jnp.asarray(shown), (2, 1), (0.4, 0.4), **how)
    assert np.abs(result["image"][0] - 255.0 * np.clip(expected, 0, 1)).max() <= 1.5


def test_refined_results_differ(styles, pictures, tiny_vgg, monkeypatch):
    monkeypatch.setattr(module, "backbone", lambda name: tiny_vgg)
    batch = {"key": KEYS[:1], "image": pictures[:1]}
    painted, refined = stylizer()(batch), stylizer(refine_steps=2)(batch)
    assert painted["style"] == refined["style"]
    assert 0 < np.abs(np.int16(painted["image"][0]) - refined["image"][0]).mean() < 20


def test_grey_and_float_pictures(styles):
    grey = np.uint8(255 * picture(24, 30)[..., 0])
    result = stylizer()({"key": [7, 8], "image": [grey, picture(24, 30)]})
    assert result["image"][0].shape == (24, 30, 3)
    assert result["key"] == ["7", "8"]
    assert result["image"][1].dtype == np.float32
    assert 0 <= result["image"][1].min() <= result["image"][1].max() <= 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"copies": 0}, "copies must lie between 1 and 10000"),
        ({"alpha": (0.9, 0.2)}, "alpha must be two numbers"),
        ({"plain": 1.5}, "plain must lie between 0 and 1"),
        ({"seed": -1}, "seed must lie between"),
        ({"grid": 40}, "grid must be a multiple of 16"),
        ({"refine_steps": -1}, "refine_steps must not be negative"),
        ({"preset": "loud"}, "preset must be one of"),
        ({"transform": "none"}, "transform must be one of"),
    ],
)
def test_settings_that_cannot_be(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        stylizer(**settings)


def test_batches_that_cannot_be(styles, pictures):
    with pytest.raises(ValueError, match="needs the columns key and image; it has: image"):
        stylizer()({"image": pictures})
    with pytest.raises(ValueError, match="already has a column style"):
        stylizer()({"key": KEYS, "image": pictures, "style": ["mine"] * 5})
    with pytest.raises(ValueError, match=r"must have one length, not \[1, 5\]"):
        stylizer()({"key": KEYS, "image": pictures, "label": [3]})
    for bad in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), int), np.zeros((0, 4, 3))):
        with pytest.raises(ValueError, match="a picture"):
            stylizer()({"key": ["a"], "image": [bad]})
    Path("empty").mkdir()
    with pytest.raises(ValueError, match="holds no styles"):
        uwct.Stylizer("empty")({"key": ["a"], "image": pictures[:1]})


def test_a_batch_of_none_is_none(styles):
    result = stylizer()(
        {"key": np.array([], str), "image": np.zeros((0, 4, 4, 3), np.uint8), "label": np.zeros(0, int)}
    )
    assert {name: len(column) for name, column in result.items()} == dict.fromkeys(result, 0)


def test_styles_are_encoded_once_for_all_workers(styles, pictures):
    stylizer()({"key": KEYS, "image": pictures})
    kept = {path: path.stat().st_mtime_ns for path in Path("store").rglob("*.safetensors")}
    assert len(kept) == 2
    stylizer()({"key": KEYS, "image": pictures})
    assert {path: path.stat().st_mtime_ns for path in Path("store").rglob("*.safetensors")} == kept
    without = uwct.Stylizer("styles", model="tiny.safetensors", levels=(1, 2), style_size=32)
    for one, other in zip(
        without({"key": KEYS, "image": pictures})["image"],
        stylizer()({"key": KEYS, "image": pictures})["image"],
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_draws_are_spread_over_ten_thousand_styles_of_which_few_are_read(styles, pictures):
    """Style files may be links: what is drawn of many is what is read, and no more."""
    Path("many").mkdir()
    for i in range(10_000):
        Path("many", f"{i}.png").symlink_to(Path("styles/a.png").resolve())
    made = uwct.Stylizer("many", "kept", "tiny.safetensors", levels=(1,), style_size=16)
    result = made({"key": KEYS, "image": pictures})
    assert len({names[0] for names in result["style"]}) == 5
    assert len(list(Path("kept").rglob("*.safetensors"))) <= 6  # the first is read as well


def test_unreadable_styles_are_passed_over(styles, pictures):
    Path("styles/aa.png").write_bytes(b"no picture")
    made = stylizer(copies=8)
    result = made({"key": KEYS[:2], "image": pictures[:2]})
    assert {name for names in result["style"] for name in names} == {"a.png", "deep/b.png"}
    assert ["aa.png" in str(fault) for fault in made.readable.faults.values()] == [True]


def test_what_is_drawn_does_not_depend_on_jax_devices(styles):
    """By definition: the key of the seed, with the checksum of the picture's own key folded in."""
    import zlib

    expected = jax.random.fold_in(jax.random.key(5), zlib.crc32(b"cats/1.png"))
    assert (jax.random.key_data(module.picture_key(5, "cats/1.png")) == jax.random.key_data(expected)).all()


def test_a_whole_picture_that_is_transparent_shows_no_style(styles):
    Image.new("RGBA", (9, 9), (1, 2, 3, 0)).save("styles/a.png")
    made = stylizer()
    assert made.readable.readable(0) == 1
    assert "transparent everywhere" in str(made.readable.faults[0])
