"""Every pair of options goes together, or is refused with its reason, as docs/together.md says."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pairs
import pytest
from PIL import Image

from uwct.cli import stylize


@pytest.fixture
def workplace(stranger):
    """A folder with all that the rows name."""
    left = np.uint8(255 * np.linspace(1, 0, 40))[None].repeat(30, 0)
    Image.fromarray(left).save("left.png")
    photo = Image.open("photo.jpg").resize((80, 70))
    photo.save("photo.jpg", quality=95)
    cutout = photo.convert("RGBA")
    cutout.putalpha(Image.fromarray(np.uint8(np.linspace(0, 255, 80))[None].repeat(70, 0)))
    cutout.save("cutout.png")
    for name, picture in (("photos", photo), ("cutouts", cutout)):
        Path(name).mkdir()
        picture.save(f"{name}/one.png")
    Path("out").mkdir()
    return stranger


def test_the_page_is_made_of_this_table():
    assert pairs.DOCUMENT.read_text() == pairs.document()
    assert all(name in pairs.OPTIONS for pair in pairs.REFUSED for name in pair)


@pytest.mark.parametrize("name", pairs.OPTIONS)
def test_alone(name, workplace):
    before = {path.stem for path in workplace.rglob("*.*g")}
    stylize.main(pairs.words(name))
    assert {path.stem for path in workplace.rglob("*.*g")} > before or name == "a folder of photos"


@pytest.mark.parametrize("first", list(pairs.OPTIONS)[:-1])
def test_every_pair(first, workplace, capsys):
    names = list(pairs.OPTIONS)
    for second in names[names.index(first) + 1 :]:
        for old in [*Path("out").iterdir(), *Path().glob("photo_*"), *Path().glob("cutout_*")]:
            old.unlink()
        if (first, second) in pairs.REFUSED or (second, first) in pairs.REFUSED:
            capsys.readouterr()  # the bars of pairs before
            with pytest.raises(SystemExit) as end:
                stylize.main(pairs.words(first, second))
            assert end.value.code == 2, (first, second)
            assert capsys.readouterr().err.count("\n") == 1
            continue
        stylize.main(pairs.words(first, second))
        made = [*Path("out").glob("*.png"), *Path().glob("photo_*.png"), *Path().glob("cutout_*.png")]
        assert made, (first, second)
        assert all(Image.open(path).size == (80, 70) for path in made)


def test_the_pairs_are_all_pairs():
    tried = {(a, b) for i, a in enumerate(pairs.OPTIONS) for b in list(pairs.OPTIONS)[i + 1 :]}
    assert tried == set(combinations(pairs.OPTIONS, 2))
