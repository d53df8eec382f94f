"""What goes out: README as PyPI shows it, the names that must agree, and how little a picture needs."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import picture
from PIL import Image

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README, CHANGELOG = ((ROOT / name).read_text() for name in ("README.md", "CHANGELOG.md"))
VERSION, REPOSITORY = PYPROJECT["project"]["version"], PYPROJECT["project"]["urls"]["Repository"]
LINK = re.compile(r'(!?)\[[^]]*\]\(([^)#]+)|(src)="([^"]+)')


def on_pypi(text: str) -> str:
    """README as the build's plugin makes it."""
    for rule in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text.replace("$HFPR_VERSION", VERSION)


def test_on_pypi_the_links_of_readme_lead_to_the_repository():
    here, there = ([m.groups() for m in LINK.finditer(text)] for text in (README, on_pypi(README)))
    assert len(here) == len(there) > 30
    for (mark, link, source, picture_), (_, absolute, _, absolute_picture) in zip(here, there, strict=True):
        target, reached = link or picture_, absolute or absolute_picture
        if not target.startswith("https:"):
            assert reached == f"{REPOSITORY}/{'raw' if mark or source else 'blob'}/v{VERSION}/{target}"


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["repository-code"]) == (VERSION, REPOSITORY)


def test_every_file_names_the_same_repository():
    named = set()
    for pattern in ("*.md", "*.cff", "*.toml", "docs/*.md", "examples/*.ipynb", "examples/*/*.md", "space/*"):
        for path in ROOT.glob(pattern):
            named |= set(re.findall(r"github\.com/[\w-]+/uwct\b", path.read_text()))
    assert named == {REPOSITORY.removeprefix("https://")}


def test_changes_are_dated_when_they_are_released():
    assert re.search(rf"^## \[({re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d|Unreleased\])$", CHANGELOG, re.M)


def test_a_picture_needs_nothing_of_training_nor_of_extras(tmp_path):
    """Neither to be there nor to be waited for: what the command has imported when it is done."""
    for name, seed in (("photo.png", 1), ("style.png", 2)):
        Image.fromarray((255 * picture(32, 32, seed)).astype("uint8")).save(tmp_path / name)
    words = ["uwct", "stylize", "--content", "photo.png", "--style", "style.png", "--output", "out.png"]
    program = f"import sys; sys.argv = {words}\nfrom uwct.cli.main import main; main(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "out.png").exists()
    imported = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "jax" in imported
    heavy = {"tensorflow", "tensorflow_datasets", "grain", "orbax", "matplotlib", "tensorboardX", "requests", "pyvips"}
    assert not imported & (heavy | {"torch", "gradio", "av", "h5py"})


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_a_container_is_made_of_all_that_the_package_is_and_is_not_root_s(name):
    text = (ROOT / name).read_text()
    assert re.findall(r"^USER (.*)$", text, re.M) == ["1000"]
    assert 'ENTRYPOINT ["uwct"]' in text
    extras = re.findall(r"/source\[([\w,]+)\]", text)
    assert set(extras[0].split(",")) <= PYPROJECT["project"]["optional-dependencies"].keys()
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == {"uwct", "pyproject.toml", "README.md", *PYPROJECT["project"]["license-files"]}
