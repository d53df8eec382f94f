"""Files of pairs, and the curve that others' results are placed on."""

from pathlib import Path

import numpy as np
import pytest

from uwct.judge.curve import Curve
from uwct.judge.pairs import Pair, all_pairs, read_pairs

CONTENTS, STYLES = [Path("c/00.jpg"), Path("c/cat.png")], [Path("s/00.png"), Path("s/12.jpg"), Path("s/12.png")]


def test_pairs_are_named_with_suffixes_or_without(tmp_path):
    file = tmp_path / "pairs.txt"
    file.write_text("# content style\n00 00\n\ncat.png,12.jpg  # a cat\n00.jpg\t00.png\n")
    pairs = read_pairs(file, CONTENTS, STYLES)
    assert pairs == [Pair(CONTENTS[0], STYLES[0]), Pair(CONTENTS[1], STYLES[1]), Pair(CONTENTS[0], STYLES[0])]
    assert pairs[1].name == "cat_12"
    assert len(all_pairs(CONTENTS, STYLES)) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no pairs"),
        ("# nothing\n", "names no pairs"),
        ("00 00\n00 none\n", "line 2 of .*: there is no style called none"),
        ("dog 00\n", "line 1 of .*: there is no photo called dog"),
        ("00 12\n", "there is 2 different style called 12"),
        ("00\n", "line 1 of .* must name a photo and a style, not 1 pictures"),
        ("\xff", "is no text"),
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
    assert curve.beside("X", lpips=0.5, style=0.7).endswith("is 0.700, ours 0.600: ours is nearer to the style")
    assert curve.beside("X", lpips=0.5, style=0.5).endswith("X is nearer to the style")
    assert "beyond the curve" in curve.beside("X", lpips=0.1, style=0.5)
