"""`uwct grid`: its cells are the pictures that `stylize` makes."""

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import cutouts, picture
from PIL import Image

from uwct.cli import grid, stylize
from uwct.pictures import images
from uwct.pictures.contact_sheet import FONT_SIZE, GAP

LOOK = ["--model", "tiny.safetensors", "--levels", "2", "1", "--dtype", "float32", "--size", "33"]


def cell(path, row, column):
    """A cell of a sheet of cells of 33 pixels."""
    line = FONT_SIZE + GAP
    top, left = line + GAP + row * (33 + line + GAP) + line + 6, GAP + column * (33 + GAP)
    return np.asarray(Image.open(path), float)[top : top + 21, left : left + 33]


def painted(*words):
    stylize.main(["--content", "photo.jpg", "--output", "out.png", *LOOK, *words])
    return np.asarray(Image.open("out.png"), float)


def run(*words):
    grid.main(["--contents", "photo.jpg", "--output", "grid.png", *LOOK, *words])


def test_styles_make_columns_and_photos_rows(folder):
    run("--contents", "photo.jpg", "b.png", "--styles", "a.png", "b.png")
    photo = 255 * images.read("photo.jpg").rgb
    assert np.abs(cell("grid.png", 0, 0) - photo).max() <= 1
    assert np.abs(cell("grid.png", 0, 2) - painted("--style", "b.png")).max() <= 1


def test_strengths_are_levels_alone_times_alphas(folder):
    run("--of", "strengths", "--styles", "a.png", "--steps", "3")
    expected = painted("--style", "a.png", "--levels", "1", "--alpha", "0.5")
    assert np.abs(cell("grid.png", 1, 1) - expected).max() <= 1


def test_mixtures_run_from_end_to_end(folder):
    run("--of", "mixtures", "--styles", "a.png", "b.png", "--steps", "3")
    expected = painted("--style", "a.png", "b.png", "--style-weights", "1", "1")
    assert np.abs(cell("grid.png", 0, 1) - expected).max() <= 1


@pytest.mark.parametrize("more", [[], ["--photo"]])
def test_what_a_photo_hides_changes_nothing_that_is_seen(folder, more):
    found = []
    for photo in cutouts(picture(21, 33)):
        photo.save("photo.png")
        run("--contents", "photo.png", "--styles", "a.png", "--levels", "1", *more)
        found.append(cell("grid.png", 0, 1))
    assert np.abs(found[0] - found[1])[:, :16].max() <= 1
    assert np.abs(found[0] - found[1])[:, 24:].max() > 20


def test_standard_output_has_the_picture_alone(folder, capfdbinary):
    run("--styles", "a.png", "--output", "-")
    found = capfdbinary.readouterr()
    assert Image.open(io.BytesIO(found.out)).size == (90, 93)
    assert found.out.endswith(b"IEND\xaeB`\x82")
    assert b"2 pictures -> - (90x93)" in found.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--styles", "a.png", "--of", "mixtures"], "one photo and two or four styles, not 1 and 1"),
        (["--styles", "a.png", "b.png", "--of", "strengths"], "one photo and one style, not 1 and 2"),
        (["--styles", "a.png", "--of", "strengths", "--alpha", "1"], "--of strengths shows every strength"),
        (["--styles", "a.png", "--transform", "whiten", "--refine"], "--refine goes towards a style"),
        (["--styles", "a.png", "--steps", "1"], "--steps must lie between 2 and 20"),
        (["--styles", "none.png"], "there is no picture none.png"),
        (["--styles", "a.png", "--output", "a.png"], "--output would overwrite a.png"),
        (["--styles", "a.png", "--output", "folder.png"], "folder.png is a folder; name a file to write"),
        (["--styles", "a.png", "--size", "0"], "--size must be at least 1"),
    ],
)
def test_bad_input_is_one_sentence(folder, capsys, words, sentence):
    Path("folder.png").mkdir()
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
