"""`uwct style`: what it writes paints as the pictures do."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uwct.cli import style, stylize
from uwct.cli.main import USAGE

LOOK = ["--content", "photo.jpg", "--model", "tiny.safetensors", "--levels", "2", "1", "--dtype", "float32"]


def pixels(path):
    return np.asarray(Image.open(path), np.float32)


def paint(output, *words):
    stylize.main([*LOOK, "--output", output, *words])
    return pixels(output)


def run(text):
    style.main(shlex.split(text.replace("uwct style ", "")))


def test_saved_and_mixed_styles_paint_as_their_pictures(folder, capsys):
    for name in "ab":
        run(f"uwct style save {name}.png --output {name}.safetensors --model tiny.safetensors")
    run("uwct style mix a.safetensors b.safetensors --weights 3 1 --output m.safetensors --model tiny.safetensors")
    assert np.abs(paint("x.png", "--style", "a.png") - paint("y.png", "--style", "a.safetensors")).max() <= 1
    plain = ("--transform", "wct", "--shrinkage", "0")
    mixed = paint("x.png", "--style", "a.png", "b.png", "--style-weights", "3", "1", *plain)
    assert np.abs(mixed - paint("y.png", "--style", "m.safetensors", *plain)).max() <= 2
    capsys.readouterr()
    run("uwct style info m.safetensors")
    first, *levels = capsys.readouterr().out.splitlines()
    assert first.startswith("a style for tiny, encoder ")
    assert len(levels) == 5
    assert levels[0].startswith("level 1: 8 channels, ")


def test_a_mask_chooses_the_part_of_the_picture(folder):
    both = np.concatenate([pixels("a.png")[:22], pixels("b.png")[:22]], axis=1)
    Image.fromarray(np.uint8(both)).save("both.png")
    Image.fromarray(np.uint8(255 * (np.arange(66) < 33))[None].repeat(22, 0)).save("left.png")
    save = "uwct style save both.png --style-size 0 --model tiny.safetensors --output"
    run(f"{save} masked.safetensors --style-mask left.png")
    masked = paint("x.png", "--style", "masked.safetensors")
    own = paint("y.png", "--style", "both.png", "--style-size", "0", "--style-mask", "left.png")
    assert np.abs(masked - own).max() <= 1
    assert np.abs(masked - paint("z.png", "--style", "both.png", "--style-size", "0")).max() > 3


def test_weights_of_any_size_are_shares(folder):
    for name in "ab":
        run(f"uwct style save {name}.png --output {name}.safetensors --model tiny.safetensors")
    for name, large in (("small", False), ("large", True)):
        weights = ["1.5e308", "0.5e308"] if large else ["3", "1"]
        words = f"uwct style mix a.safetensors b.safetensors --model tiny.safetensors --output {name}.safetensors"
        run(f"{words} --weights {' '.join(weights)}")
        paint(f"{name}.png", "--style", "a.png", "b.png", "--style-weights", *weights)
        digits = 100 * "0" if large else ""
        paint(f"{name}.region.png", "--region", "a.png", f"a.png:3{digits}", f"b.png:1{digits}")
    assert Path("large.safetensors").read_bytes() == Path("small.safetensors").read_bytes()
    for suffix in (".png", ".region.png"):
        assert Path(f"large{suffix}").read_bytes() == Path(f"small{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("save none.png --output a.safetensors", "there is no picture none.png"),
        ("save a.png --output a.jpg", "a.jpg must end in .safetensors"),
        ("save a.png --output folder.safetensors", "folder.safetensors is a folder; name a file to write"),
        ("export-lut photo.jpg a.png --output folder.cube", "folder.cube is a folder; name a file to write"),
        ("save a.png --output no/a.safetensors", "the output folder no does not exist"),
        ("save a.png --output a.safetensors --style-mask black.png", "the mask black.png leaves nothing of the style"),
        ("mix tiny.safetensors --output m.safetensors", "tiny.safetensors is not a style file"),
        ("mix --output m.safetensors", "name style files to mix"),
        ("mix a.png --weights 1 2 --output m.safetensors", "1 styles need as many --weights, not 2"),
        ("mix a.png --weights -1 --output m.safetensors", "--weights must not be negative"),
        ("info a.png", "a.png is not a readable safetensors file"),
        ("info none.safetensors", "there is no style file none.safetensors"),
    ],
)
def test_bad_input_is_one_sentence(folder, capsys, words, sentence):
    Image.new("L", (9, 9)).save("black.png")
    for name in ("folder.safetensors", "folder.cube"):
        Path(name).mkdir()
    model = [] if words.startswith("info") else ["--model", "tiny.safetensors"]
    with pytest.raises(SystemExit) as stop:
        style.main([*shlex.split(words), *model])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert not [path for path in folder.iterdir() if path.name.startswith((".", "m.saf", "a.saf"))]


def test_the_helps_examples_fit_together(folder, monkeypatch, capsys):
    """They name the pictures of README and the default model; here, small ones."""
    names = {"examples/styles/strokes.jpg": "a.png", "examples/styles/waves.jpg": "b.png"}
    names |= {"examples/photos/coffee.jpg": "photo.jpg", "examples/photos/rocket.jpg": "b.png"}
    examples = [line.strip() for line in style.HELP.splitlines() if line.startswith("  uwct style ")]
    assert len(examples) == 5
    for line in examples:
        for name, small in names.items():
            line = line.replace(name, small)
        run(line if " info " in line else f"{line} --model tiny.safetensors")
    assert "level 5" in capsys.readouterr().out
    assert "uwct style " in USAGE
