"""`uwct augment`: the same files however the work is spread, and every one what its manifest says."""

import hashlib
import json
import os
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from PIL import Image

import uwct
from uwct.cli import augment, style
from uwct.cli.dtypes import dtype_for
from uwct.cli.encoding import encode_file
from uwct.pictures import images
from uwct.pipeline import style_pool
from uwct.pipeline.style_files import load_style
from uwct.pipeline.style_pool import StylePool


@pytest.fixture
def data(styles):
    """Four pictures in two folders, two styles."""
    for name, seed in (("cats/1.png", 1), ("cats/2.png", 2), ("dogs/1.png", 3), ("dogs/deep/9.bmp", 4)):
        path = Path("in", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8(255 * picture(24, 30, seed))).save(path)
    return styles


def run(words):
    augment.main([*shlex.split(words), "--styles", "styles", "--model", "tiny.safetensors", "--levels", "1", "2"])


def files(name):
    return {p.relative_to(name): p.read_bytes() for p in Path(name).rglob("*") if p.is_file() and p.suffix != ".jsonl"}


def records(name):
    return [json.loads(line) for path in sorted(Path(name).glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_any_number_of_processes_writes_the_same_files(data):
    run("in one --per-image 2 --seed 5")
    assert set(map(str, files("one"))) == {
        f"{name}_{i}.{suffix}"
        for name, suffix in (("cats/1", "png"), ("cats/2", "png"), ("dogs/1", "png"), ("dogs/deep/9", "bmp.png"))
        for i in range(2)
    }
    for part in range(3):
        run(f"in three --per-image 2 --seed 5 --shard {part}/3")
    assert files("three") == files("one")
    run("in other --per-image 2 --seed 6")
    assert files("other") != files("one")


def test_a_program_of_ones_own_makes_the_same_bytes(data):
    """Its JAX compiles as by default: what other commands ask of XLA rounds in another order."""
    before = os.environ["XLA_FLAGS"]
    run("in out --seed 5")
    assert os.environ["XLA_FLAGS"] == before
    stylizer = uwct.Stylizer("styles", None, "tiny.safetensors", dtype_for("auto"), seed=5, levels=(1, 2))
    keys = ["cats/1.png", "cats/2.png", "dogs/1.png"]
    made = stylizer({"key": keys, "image": [np.asarray(Image.open(Path("in", key))) for key in keys]})
    for key, image in zip(keys, made["image"], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(Path("out", key))), image)


def test_one_each_keeps_its_name_so_that_annotations_still_fit(data):
    run("in out")
    assert set(map(str, files("out"))) == {"cats/1.png", "cats/2.png", "dogs/1.png", "dogs/deep/9.bmp.png"}


def test_a_style_that_cannot_be_read_is_passed_over_and_named(data, capsys):
    Path("styles/bad.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as stop:
        run("in out --per-image 4")
    assert stop.value.code == 1
    assert capsys.readouterr().err.count("styles/bad.png is not a picture") == 1
    assert len(files("out")) == 16
    for path in Path("styles").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(SystemExit) as stop:
        run("in none")
    assert stop.value.code == 2


def test_styles_are_encoded_once_and_kept_on_disk(data, monkeypatch):
    encoded = []
    real = augment.encode_file
    monkeypatch.setattr(augment, "encode_file", lambda path, *rest: encoded.append(path.name) or real(path, *rest))
    run("in out --per-image 4")
    run("in again --per-image 4 --style-store out.styles --shard 0/2")
    run("in again --per-image 4 --style-store out.styles --shard 1/2")
    assert sorted(encoded) == ["a.png", "b.png"]
    assert files("again") == files("out")
    assert len(list(Path("out.styles").rglob("*.safetensors"))) == 2
    run("in small --per-image 4 --style-store out.styles --style-size 16")  # another style
    assert sorted(encoded) == ["a.png", "a.png", "b.png", "b.png"]
    Image.fromarray(np.uint8(255 * picture(30, 30, 9))).save("styles/a.png")
    run("in new --per-image 4 --style-store out.styles")
    assert encoded[4:] == ["a.png"]
    assert files("new") != files("out")


def test_folders_of_styles_that_share_a_store_are_not_mixed_up(data):
    """They were by their names, and by which file is older."""
    run("in first --per-image 4 --style-store kept")
    Path("styles/a.png").unlink()
    Path("styles/b.png").rename("styles/a.png")
    os.utime("styles/a.png", (0, 0))
    run("in shared --per-image 4 --style-store kept")
    run("in alone --per-image 4")
    assert files("shared") == files("alone")
    run("in halved --per-image 4 --style-store kept --dtype bfloat16")
    run("in by_itself --per-image 4 --dtype bfloat16")
    assert files("halved") == files("by_itself")


def test_a_pool_holds_a_few_styles_in_memory(data, tiny_model, monkeypatch):
    monkeypatch.setattr(style_pool, "IN_MEMORY", 1)
    read = []
    monkeypatch.setattr(style_pool, "load_style", lambda *of: read.append(of[0].name) or load_style(*of))
    paths = [Path("styles/a.png"), Path("styles/b.png")]
    pool = StylePool(paths, tiny_model, lambda path: encode_file(path, tiny_model, 0), Path("kept"))
    first = [pool[i] for i in (0, 1, 0, 0, 1)]
    assert read == [f"{hashlib.sha256(path.read_bytes()).hexdigest()}.safetensors" for path in paths]
    for one, other in ((0, 2), (1, 4)):
        jax.tree.map(np.testing.assert_array_equal, first[one], first[other])


def test_style_files_and_pictures_are_styles_together(data):
    style.main(["save", "styles/a.png", "--output", "styles/c.safetensors", "--model", "tiny.safetensors"])
    run("in out --per-image 4")
    assert {name.split("/")[1] for record in records("out") for name in record["styles"]} > {"c.safetensors"}


@pytest.mark.parametrize(
    ("words", "option"),
    [("--seed 1", "--seed (0, not 1)"), ("--alpha 0.1 0.2", "--alpha ([0.6, 1.0], not [0.1, 0.2])"),
     ("--per-image 2", "--per-image (1, not 2)"), ("--size 20", "--size (0, not 20)")],
)  # fmt: skip
def test_another_run_into_the_same_folder_says_what_differs(data, capsys, words, option):
    run("in out")
    before = files("out")
    with pytest.raises(SystemExit) as stop:
        run(f"in out {words}")
    assert stop.value.code == 2
    assert option in capsys.readouterr().err
    assert files("out") == before


def test_other_styles_are_not_mixed_into_the_same_folder(data, capsys):
    run("in out")
    Path("styles/a.png").rename("styles/c.png")
    with pytest.raises(SystemExit) as stop:
        run("in out")
    assert stop.value.code == 2
    assert "another --styles (with other files)" in capsys.readouterr().err


def test_every_file_is_what_the_manifest_says(data, tiny_model):
    run("in out --per-image 2 --dtype float32 --alpha 0.2 0.9")
    said = records("out")
    assert {record["output"] for record in said} == {str(Path("out", name)) for name in files("out")}
    assert len({record["styles"][0] for record in said}) == 2
    for record in said:
        assert 0.2 <= record["alpha"] <= 0.9
        assert record["weights"] == [1]
        content, style = (jnp.asarray(images.read(name).rgb) for name in (record["source"], *record["styles"]))
        sized = images.resize(images.Picture(np.asarray(style)), images.fitted(style.shape[:2], 512)).rgb
        how = {"transform": uwct.monge, "shrinkage": 0.3}
        expected = uwct.stylize(tiny_model, content, jnp.asarray(sized), (2, 1), record["alpha"], **how)
        found = np.asarray(Image.open(record["output"]), float)
        assert np.abs(found - 255 * np.clip(expected, 0, 1)).max() <= 1.5


def test_mixtures_are_what_the_manifest_says(data, tiny_model):
    run("in out --mixed 2 --dtype float32")
    for record in records("out"):
        content, *styles = (images.read(name).rgb for name in (record["source"], *record["styles"]))
        sized = [images.resize(images.Picture(style), images.fitted(style.shape[:2], 512)).rgb for style in styles]
        how = {"weights": record["weights"], "transform": uwct.monge, "shrinkage": 0.3}
        expected = uwct.stylize(tiny_model, content, sized, (2, 1), record["alpha"], **how)
        found = np.asarray(Image.open(record["output"]), float)
        assert np.abs(found - 255 * np.clip(expected, 0, 1)).max() <= 1.5


def test_what_is_done_is_not_done_again_and_bad_pictures_are_passed_over(data, capsys):
    Path("in/cats/bad.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as stop:
        run("in out")
    assert stop.value.code == 1
    assert "in/cats/bad.png is not a picture" in capsys.readouterr().err
    before = files("out")
    Path("in/cats/bad.png").unlink()
    Path("out/cats/1.png").unlink()
    times = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.png")}
    run("in out")
    assert files("out") == before
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len(records("out")) == 5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("none out", "there is no folder none"),
        ("tfds: out", "IN must be a folder or tfds:NAME, not 'tfds:'"),
        ("'' out", "IN must be a folder or tfds:NAME, not ''"),
        ("in in", "in must lie outside in"),
        ("in in/out", "in/out must lie outside in"),
        ("in styles", "styles must lie outside styles, which is searched whole"),
        ("in styles/out", "styles/out must lie outside styles"),
        ("in out --style-store styles/kept", "styles/kept must lie outside styles"),
        ("in out --per-image 0", "--per-image must lie between 1 and 10000, not 0"),
        ("in out --per-image 1000000000", "--per-image must lie between 1 and 10000, not 1000000000"),
        ("in out --together 1000000000", "--together must lie between 1 and 10000, not 1000000000"),
        ("in out --alpha 0.9 0.2", "--alpha must be two numbers from 0 to 1, the smaller first"),
        ("in out --shard 2/2", "--shard must be I/N"),
        ("in out --shard half", "--shard must be I/N"),
        ("in out --shrinkage 2", "--shrinkage must lie between 0 and 1"),
        ("in out --styles in/none", "there is no folder in/none"),
    ],
)
def test_bad_input_is_one_sentence(data, capsys, words, sentence):
    before = set(data.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        augment.main(["--styles", "styles", "--model", "tiny.safetensors", *shlex.split(words)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert set(data.rglob("*")) == before
