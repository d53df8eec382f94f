"""What CONTRIBUTING and the documentation's first page say is so, and CONTRIBUTING's examples run."""

import re
from pathlib import Path

import pytest

import uwct
from uwct.convert import collection

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = dict(re.findall(r"^## (A new [^\n]*)\n.*?^```python\n(.*?)^```", TEXT, re.M | re.S))


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_runs(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(collection, "READERS", collection.READERS)  # which an example adds to
    assert EXAMPLES[title].count("\n") < 30
    exec(compile(EXAMPLES[title], title, "exec"), {})


def test_there_is_an_example_of_each_kind():
    assert list(EXAMPLES) == ["A new transform", "A new network", "A new format of weights"]


def test_the_layout_names_what_is_there():
    layout = TEXT.partition("## Layout")[2].partition("## Habits")[0]
    for name in re.findall(r"`([\w/]+\.py|\w+/(?:\w+/)*)`", layout):
        assert any((ROOT / folder / name).exists() for folder in (".", "uwct")), name
    rooms = {path.parent.name for path in (ROOT / "uwct").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"`(\w+)`", layout))


def test_every_file_that_is_linked_is_there():
    for name in ("CONTRIBUTING.md", "README.md", "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / name).read_text()):
            assert re.match("https?:", link) or (ROOT / link).exists(), f"{name}: {link}"


def test_the_documentation_begins_with_all_that_the_package_exports():
    shown = re.findall(r"\[`(\w+)`\]\[uwct\.", (ROOT / "docs" / "index.md").read_text())
    assert sorted(shown) == sorted(uwct.__all__)
