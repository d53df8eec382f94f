"""`--refine` of the commands."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import uwct
from uwct.cli import grid, style, stylize, texture
from uwct.networks.model import load
from uwct.pictures import images
from uwct.pipeline.presets import PRESETS

PAIR = ("--content", "photo.jpg", "--style", "a.png")


def run(*words):
    stylize.main([*words, "--model", "tiny.safetensors", "--dtype", "float32"])


def pixels(path):
    return np.asarray(Image.open(path), float)


def test_the_command_refines_as_the_library_does(folder, tiny_vgg, capsys):
    run(*PAIR, "--refine-steps", "3", "--style-size", "0", "--output", "out.png")
    assert "refined in 3 steps" in capsys.readouterr().out
    model, look = load("tiny.safetensors"), PRESETS["paint"]
    photo, painting = (jnp.asarray(images.read(name).rgb) for name in ("photo.jpg", "a.png"))
    how = {"transform": uwct.monge, "shrinkage": look.shrinkage}
    painted = uwct.stylize(model, photo, painting, look.levels, look.alpha, **how)
    expected = uwct.refine(model, tiny_vgg, painted, photo, painting, look.levels, look.alpha, steps=3)
    assert np.abs(pixels("out.png") - 255 * np.clip(expected, 0, 1)).max() < 1
    assert np.abs(pixels("out.png") - 255 * np.clip(painted, 0, 1)).max() > 1


def test_a_style_file_refines_as_its_picture(folder):
    style.main(["save", "a.png", "--output", "a.safetensors", "--model", "tiny.safetensors"])
    for given in ("a.png", "a.safetensors"):
        run("--content", "photo.jpg", "--style", given, "--refine-steps", "2", "--output", f"{given}.png")
    apart = np.abs(pixels("a.png.png") - pixels("a.safetensors.png"))
    assert apart.mean() < 1  # the command that writes style files may compute in bfloat16


def test_a_part_that_is_kept_is_kept(folder):
    mask = np.zeros((21, 33), np.uint8)
    mask[:, :12] = 255
    Image.fromarray(mask).save("left.png")
    run(*PAIR, "--refine-steps", "2", "--region", "left.png", "--output", "out.png")
    photo, result = (pixels(name) for name in ("photo.jpg", "out.png"))
    np.testing.assert_array_equal(result[:, :12], photo[:, :12])
    assert np.abs(result[:, 12:] - photo[:, 12:]).max() > 5


def test_every_tenth_step_can_be_written(folder):
    run(*PAIR, "--levels", "1", "--refine-steps", "21", "--steps", "--output", "out.png")
    assert {p.name for p in Path().glob("out.*")} == {
        "out.png",
        "out.level1.png",
        "out.refined10.png",
        "out.refined20.png",
    }
    assert (
        np.abs(pixels("out.refined20.png") - pixels("out.png")).max()
        < np.abs(pixels("out.refined10.png") - pixels("out.png")).max()
    )


@pytest.mark.parametrize("tile", ["off", "256"])
def test_interrupted_it_keeps_the_picture_so_far(folder, monkeypatch, capsys, tile):
    run(*PAIR, "--refine-steps", "4", "--tile", tile, "--output", "whole.png")
    done = []

    def interrupted(step):
        done.append(step.number)
        if step.number == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("uwct.cli.watching.check_loss", interrupted)
    with pytest.raises(SystemExit) as end:
        run(*PAIR, "--refine-steps", "4", "--tile", tile, "--output", "part.png")
    assert end.value.code == 130
    assert "part.png is refined in part" in capsys.readouterr().err
    assert done == [1, 2, 3]
    assert 0 < np.abs(pixels("part.png") - pixels("whole.png")).max() < 10
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


def test_interrupted_before_the_first_step_it_writes_nothing(folder, monkeypatch):
    def interrupted(step):
        raise KeyboardInterrupt

    monkeypatch.setattr("uwct.cli.watching.check_loss", interrupted)
    with pytest.raises(SystemExit) as end:
        run(*PAIR, "--refine", "--output", "none.png")
    assert end.value.code == 130
    assert not Path("none.png").exists()


def test_textures_and_grids_are_refined(folder):
    common = ("--model", "tiny.safetensors", "--refine-steps", "2")
    for seams in ([], ["--seamless"]):
        name = "seamless.png" if seams else "texture.png"
        texture.main(["--style", "a.png", "--size", "32", *seams, *common, "--output", name])
        texture.main(["--style", "a.png", "--size", "32", *seams, *common[:2], "--output", "plain.png"])
        assert np.abs(pixels(name) - pixels("plain.png")).max() > 1
    grid.main(["--contents", "photo.jpg", "--styles", "a.png", "--size", "64", *common, "--output", "grid.png"])
    grid.main(["--contents", "photo.jpg", "--styles", "a.png", "--size", "64", *common[:2], "--output", "plain.png"])
    assert np.abs(pixels("grid.png") - pixels("plain.png")).max() > 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--refine-steps", "0"), "--refine-steps must be at least 1, not 0"),
        (("--refine", "--transform", "whiten"), "--refine goes towards a style, and --transform whiten has none"),
    ],
)
def test_what_cannot_be_refined_is_named(folder, words, sentence, capsys):
    with pytest.raises(SystemExit) as end:
        run(*PAIR, *words, "--output", "out.png")
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"
    assert not Path("out.png").exists()


def test_styles_that_cannot_be_refined_towards_say_so(folder, tiny_model, capsys):
    uwct.save_style(uwct.encode_style(tiny_model, jnp.asarray(images.read("a.png").rgb)), "old.safetensors", tiny_model)
    with pytest.raises(SystemExit):
        run("--content", "photo.jpg", "--style", "old.safetensors", "--refine", "--output", "out.png")
    assert "make them anew (uwct style save)" in capsys.readouterr().err
