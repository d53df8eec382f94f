"""Every command and program in the documents, the launchers' docstrings and the commands' help runs as it stands."""

import re
import shlex
import shutil
import subprocess
import sys

import documents
import numpy as np
import pytest
from conftest import picture
from documents import PAGES, ROOT, blocks
from moving import view, write_clip
from PIL import Image

from uwct.cli import main as entry
from uwct.cli.tasks import arguments as training
from uwct.pipeline.presets import PRESETS

SEQUENCES = documents.sequences()


@pytest.fixture(scope="session")
def data_sets(tmp_path_factory):
    """A folder of tensorflow-datasets with its own COCO prepared, but of three pictures."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import registered

    coco = tfds.builder_cls("coco")
    with registered.skip_registration():

        class TinyCoco(coco):
            name = "coco"

            def _split_generators(self, _):
                return {"train": self._generate_examples()}

            def _generate_examples(self):
                for i in range(3):
                    pixels = np.uint8(255 * picture(70, 80, seed=i))
                    yield i, {"image": pixels, "image/filename": f"{i}.jpg", "image/id": i, "objects": []}

    folder = tmp_path_factory.mktemp("data_sets")
    TinyCoco(config="2017", data_dir=str(folder), file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture(scope="session")
def examples(tmp_path_factory):
    """The folder of that name, with small pictures."""
    folder = tmp_path_factory.mktemp("small") / "examples"
    shutil.copytree(ROOT / "examples", folder, ignore=shutil.ignore_patterns("gallery"))
    for path in [path for kind in ("photos", "styles", "masks") for path in (folder / kind).iterdir()]:
        small = Image.open(path)
        small.thumbnail((128, 128))
        small.save(path)
    return folder


@pytest.fixture
def clone(tmp_path, monkeypatch, examples):
    """The working directory: what the commands name, which is the launchers, the examples, photographs, a clip."""
    for name in ("stylize.py", "train.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(examples, tmp_path / "examples")
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    (tmp_path / "paintings").mkdir()
    for name in ("photos", "unseen"):
        (tmp_path / name).mkdir()
        shutil.copy(examples / "photos" / "cat.jpg", tmp_path / name)
    write_clip(tmp_path / "clip.mp4", [view(i) for i in range(3)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(monkeypatch, data_sets):
    """Runs the words of a command in this process."""

    def run(words):
        words = [*words, *(["--data-dir", str(data_sets)] if "coco/2017" in words else [])]
        monkeypatch.setattr(sys, "argv", ["uwct", *words])
        entry.main()

    return run


def thin_out(folder, commands):
    """Leaves the photos and styles that the commands name, and one of each, for commands on whole folders.

    Programs, which name pictures of their own, keep them all.
    """
    if any(re.match(r"python \w+/", line) for line in commands):
        return
    for kept, kind in (("cat.jpg", "photos"), ("strokes.jpg", "styles")):
        for path in (folder / "examples" / kind).iterdir():
            if path.name not in {kept, *re.findall(r"[\w.]+", " ".join(commands))}:
                path.unlink()


def written(folder):
    """Every file in a folder, and when it was last written."""
    return {(path, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", SEQUENCES)
def test_documented_commands_run(name, clone, command, capfd):
    thin_out(clone, SEQUENCES[name])
    for line in SEQUENCES[name]:
        program, *rest = shlex.split(line, comments=True)
        words = documents.shortened(rest)
        before = written(clone)
        if program == "python" and not words[0].startswith(("stylize.py", "train.py", "-m")):
            subprocess.run([sys.executable, *words], check=True)  # a program of its own, not one of the commands
        else:
            command([words[0].removesuffix(".py"), *words[1:]])
        made = written(clone) - before
        assert made or re.search(r"^\| .*\d", capfd.readouterr().out, re.M), line  # files, or a table


@pytest.mark.parametrize("line", ["stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg"])
def test_the_launcher_is_the_command(line, clone):
    words = documents.shortened(line.split())
    ran = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert (clone / "cat_strokes.png").exists()


def test_every_command_has_an_example_that_is_run():
    commands = set(re.findall(r"^  uwct (\w+)", entry.USAGE, re.M))
    run = {shlex.split(line)[1].removesuffix(".py") for lines in SEQUENCES.values() for line in lines}
    assert commands - run == {
        "web",
        "convert",
        "fetch",
        "inspect",
    }  # which have tests of their own, with files of others


PROGRAMS = [(page, i) for page in PAGES for i in range(len(blocks(page.read_text(), "python")))]


@pytest.mark.parametrize(("page", "number"), PROGRAMS, ids=lambda value: getattr(value, "stem", value))
def test_the_python_of_every_page_runs(page, number, clone):
    shutil.copytree(ROOT / "examples", clone / "examples", dirs_exist_ok=True)  # the sizes that the programs name
    program = blocks(page.read_text(), "python")[number]
    if "whitened" in program:
        program += "\nassert np.abs(whitened.mean((0, 1))).max() < 1e-2\n"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (clone / "result.png").exists()


@pytest.mark.parametrize("script", sorted((ROOT / "uwct" / "weights").glob("*.sh")), ids=lambda path: path.stem)
def test_the_scripts_that_make_the_weights_give_commands_that_fit_together(script, tmp_path, monkeypatch):
    """A `python` that only writes down what it is asked: training itself is run by the other tests."""
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> commands\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    subprocess.run(["bash", script, "--seed", "3"], cwd=tmp_path, check=True)
    made, levels = {"vgg16", "small"}, set()  # models, and what levels they have
    for line in (tmp_path / "commands").read_text().splitlines():
        if line.startswith("examples/"):
            continue
        arguments = training.parse(line.removeprefix("train.py ").split(), "train.py")
        arguments.check()
        assert arguments.config.seed == 3
        assert {arguments.init or "vgg16", arguments.backbone} <= made
        made.add(str(arguments.folder / "model.safetensors"))
        levels |= {(str(arguments.folder), level) for level in arguments.levels}
    assert {level for _, level in levels} == set(range(1, 6))


def test_the_style_pictures_are_what_their_script_draws(clone):
    stored = {path.name: np.asarray(Image.open(path), float) for path in (ROOT / "examples" / "styles").iterdir()}
    assert len(stored) == 5
    shutil.rmtree(clone / "examples" / "styles")
    subprocess.run([sys.executable, "examples/draw_styles.py"], cwd=clone, check=True)
    for name, drawn in stored.items():
        assert np.abs(np.asarray(Image.open(clone / "examples" / "styles" / name), float) - drawn).mean() < 1


def test_every_picture_that_a_page_shows_is_there_and_every_gallery_picture_is_shown():
    shown = set()
    for page in PAGES:
        for a, b in re.findall(r'src="([^"]+)"|!\[[^]]*\]\((?!https:)([^)]+)\)', page.read_text()):
            shown.add((page.parent / (a or b)).resolve())
    assert all(path.is_file() for path in shown)
    assert set((ROOT / "examples" / "gallery").iterdir()) <= shown


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists() or target.startswith("reference/"), f"{page.name}: {target}"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_presets_are_what_the_page_says():
    rows = re.findall(r"^\| `(\w+)` \| ((?:\d: [\d.]+(?:, )?)+) \|", (ROOT / "docs" / "stylize.md").read_text(), re.M)
    assert dict(rows) == {
        name: ", ".join(f"{level}: {alpha:g}" for level, alpha in zip(preset.levels, preset.alpha, strict=True))
        for name, preset in PRESETS.items()
    }
