"""Files of pairs, and the curve that others' results are placed on."""

from pathlib import Path

import numpy as np
import pytest

from uwct.judge.curve import Curve
from uwct.judge.pairs import Pair, all_pairs, find_results, read_pairs, titles

CONTENTS, STYLES = [Path("c/00.jpg"), Path("c/cat.png")], [Path("s/00.png"), Path("s/12.jpg"), Path("s/12.png")]


def test_pairs_are_named_with_suffixes_or_without(tmp_path):
    file = tmp_path / "pairs.txt"
    file.write_text("# content style\n00 00\n\ncat.png,12.jpg  # a cat\ncat\t12.png\n  00.jpg ,\t12.png\r\n")
    pairs = read_pairs(file, CONTENTS, STYLES)
    expected = [(0, 0), (1, 1), (1, 2), (0, 2)]
    assert pairs == [Pair(CONTENTS[i], STYLES[j]) for i, j in expected]
    assert pairs[1].name == "cat_12"
    assert len(all_pairs(CONTENTS, STYLES)) == 6


def test_a_pair_counts_once_however_often_it_is_named(tmp_path):
    file = tmp_path / "pairs.txt"
    file.write_text("00 00\ncat 00\n00.jpg 00.png\n")
    assert read_pairs(file, CONTENTS, STYLES) == [Pair(c, STYLES[0]) for c in CONTENTS]


def test_names_may_have_spaces_where_commas_or_tabs_separate_them(tmp_path):
    photos, file = [Path("c/my cat.jpg"), Path("c/my.jpg")], tmp_path / "pairs.txt"
    file.write_bytes(b"\xef\xbb\xbfmy cat, 00\nmy cat.jpg\t00\nmy 00\n")  # as editors on Windows begin a file
    assert read_pairs(file, photos, STYLES) == [Pair(photo, STYLES[0]) for photo in photos]


def test_a_whole_name_goes_before_one_without_suffix(tmp_path):
    photos, file = [Path("c/a.jpg"), Path("c/a.jpg.png")], tmp_path / "pairs.txt"
    file.write_text("a.jpg 00\n")
    assert read_pairs(file, photos, STYLES) == [Pair(photos[0], STYLES[0])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no pairs"),
        ("# nothing\n", "names no pairs"),
        ("00 00\n00 none\n", "pairs.txt: line 2: there is no style called 'none'$"),
        ("dog 00\n\n00\n", "line 1: there is no photo called 'dog'; line 3 must name a photo and a style, not 1 pic"),
        ("dog none\n", "line 1: there is no photo called 'dog'; line 1: there is no style called 'none'$"),
        ("00 12\n", "line 1: the style '12' may be 12.jpg or 12.png"),
        ("00,00,\n", "line 1 must name a photo and a style, not 3 pictures"),
        (",00\n", "line 1: there is no photo called ''"),
        ("\xff", "is not a text file"),
    ],
)
def test_files_of_pairs_that_are_none(tmp_path, text, message):
    (tmp_path / "pairs.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / "pairs.txt", CONTENTS, STYLES)


def test_a_curve_is_read_between_its_points():
    curve = Curve(np.array([0.6, 0.2, 0.4]), np.array([0.5, 1.0, 0.7]))
    assert curve.at(0.3) == pytest.approx(0.85)
    assert curve.at(0.5) == pytest.approx(0.6)
    assert curve.at(0.61) is None
    below, above = (curve.place("X", lpips=0.5, style=style) for style in (0.5, 0.7))
    assert below == "X lies below the curve (at LPIPS 0.500, 0.500 against 0.600): X is nearer to the style"
    assert above == "X lies above the curve (at LPIPS 0.500, 0.700 against 0.600): ours is nearer to the style"
    assert curve.place("X", lpips=0.2, style=1.0).endswith("on the curve (at LPIPS 0.200, 1.000 against 1.000)")
    assert curve.place("X", lpips=0.1, style=0.5) == (
        "X has LPIPS 0.100, beyond the curve's 0.200 to 0.600, so is not compared"
    )


@pytest.fixture
def results(tmp_path):
    for name in ("00_00.png", "cat_12.JPG", "00_12.jpg", "00_12.webp", "cat_00.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_results_are_found_by_both_names(results):
    pairs = [Pair(CONTENTS[0], STYLES[0]), Pair(CONTENTS[1], STYLES[1])]
    assert find_results(results, pairs) == {pairs[0]: results / "00_00.png", pairs[1]: results / "cat_12.JPG"}


def test_all_results_that_are_missing_or_ambiguous_are_named(results):
    missing = [Pair(CONTENTS[1], STYLES[0]), Pair(CONTENTS[0], STYLES[0]), Pair(CONTENTS[1], Path("s/13.png"))]
    with pytest.raises(ValueError, match=r"holds no picture cat_00, cat_13$"):
        find_results(results, missing)
    with pytest.raises(ValueError, match=r"holds 00_12\.jpg and 00_12\.webp, of one pair each$"):
        find_results(results, [Pair(CONTENTS[0], STYLES[1])])


def test_folders_are_called_by_their_names_unless_two_have_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    a, b, c, ours = (Path(name) for name in ("x/a", "y/a", "c", "uwct"))
    expected = {str(tmp_path / "x/a"): a, str(tmp_path / "y/a"): b, "c": c, str(tmp_path / "uwct"): ours}
    assert titles([a, b, c, ours], ["uwct"]) == expected
    monkeypatch.chdir(tmp_path / "here")
    assert titles([Path(".")], ["uwct"]) == {"here": Path(".")}
    with pytest.raises(ValueError, match="the folder c is given twice"):
        titles([Path("c"), Path("../here/c")], [])
