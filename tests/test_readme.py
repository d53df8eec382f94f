"""Every command and every program in README and in the launchers' docstrings and help runs as it stands."""

import ast
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from moving import view, write_clip
from PIL import Image

from uwct import encode_style, load, save_style
from uwct.cli import evaluate, measure, stylize, train
from uwct.pipeline.presets import PRESETS

ROOT = Path(__file__).parents[1]
# What makes the long commands short enough for a test, as README says beside them.
(SHORT,) = re.findall(r"<!-- long: the tests add (.*) -->", (ROOT / "README.md").read_text())


BENCHMARK = {
    "benchmarks/training.py": "--levels 2 --batch 1 --crop 32 --rounds 1 --steps 1",
    "benchmarks/data.py": "--level 1 --batch 2 --crop 32 --batches 2 --rounds 1 --threads 2",
    "benchmarks/stylize.py": "--models small --sizes 32 --sides uwct eager --repeats 1",
    "benchmarks/long_run.py": "--pictures 4 --shapes 2 --size 32 --levels 1",
    "benchmarks/tiling.py": "--megapixels 0.02 --levels 1 --tile 128",
    "benchmarks/video.py": "--size 64 --frames 2 --temporal 0.5",
    "benchmarks/recipes.py": "--level 1 --minutes 0.01 --batch-scale 0.05 --crop 16 --test-count 1 --test-crop 64",
}


def readme_blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


def documented_commands():
    """Every line that starts with `python` or `uwct`, but for those that install, test, or serve (see test_web.py)."""
    texts = readme_blocks("sh")
    texts += [ast.get_docstring(ast.parse((ROOT / name).read_text())) for name in ("stylize.py", "train.py")]
    texts += [module.HELP for module in (stylize, train, measure, evaluate)]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    commands = [line for line in lines if re.match(r"(python|uwct) ", line)]
    return sorted({c for c in commands if not re.match(r"python -m (pip|pytest)|uwct web", c)})


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
                    pixels = np.uint8(255 * picture(40, 50, seed=i))
                    yield i, {"image": pixels, "image/filename": f"{i}.jpg", "image/id": i, "objects": []}

    folder = tmp_path_factory.mktemp("data_sets")
    TinyCoco(config="2017", data_dir=str(folder), file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture(scope="session")
def environment(data_sets, tmp_path_factory):
    """For the commands: where data sets lie, one cache of compiled programs for all, and the scripts of this Python."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    cache = str(tmp_path_factory.mktemp("cache"))
    caching = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**os.environ, **caching, "TFDS_DATA_DIR": str(data_sets), "PATH": path}


@pytest.fixture
def clone(tmp_path):
    """A directory with what the commands name: the launchers, the examples, folders of photographs and for results."""
    for name in ("stylize.py", "train.py"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("examples", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "paintings").mkdir()
    for name in ("photos", "unseen"):
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / "examples" / "photos" / "cat.jpg", tmp_path / name)
    write_clip(tmp_path / "clip.mp4", [view(i) for i in range(3)])
    return tmp_path


@pytest.fixture(scope="session")
def style_file(tmp_path_factory):
    """A style of the default model, for the commands that use what the one before wrote."""
    path = tmp_path_factory.mktemp("style") / "style.safetensors"
    model = load("vgg16")
    save_style(encode_style(model, picture(64, 64)), path, model)
    return path


@pytest.mark.parametrize("command", documented_commands())
def test_documented_commands_run(command, clone, environment, style_file):
    words = shlex.split(command, comments=True)
    entry = [sys.executable, "-m", "uwct"] if words[0] == "uwct" else [sys.executable]
    words = words[1:]
    if "train.py" in words:
        words += SHORT.split() + (["--levels", "1"] if "least-squares" in words else [])
    if words[0].startswith("benchmarks"):
        words += BENCHMARK[words[0]].split()
    if "--size" not in words and ("stylize.py" in words or words[0] == "stylize"):
        words += ["--size", "96"]  # one size for all, so that its programs are compiled once
    if "measure" in words:
        words += ["--count", "1", "--crop", "32"]
    for option, word in itertools.pairwise(words):
        if word in ("strokes.safetensors", "waves.safetensors", "both.safetensors") and option != "--output":
            shutil.copy(style_file, clone / word)
    before = set(clone.rglob("*"))
    result = subprocess.run([*entry, *words], cwd=clone, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert set(clone.rglob("*")) > before or re.search(r"^\| .*\d", result.stdout, re.M)  # files, or a table


def test_the_python_of_readme_runs(clone):
    (program,) = readme_blocks("python")
    check = "\nassert np.abs(whitened.mean((0, 1))).max() < 1e-2\n"
    subprocess.run([sys.executable, "-c", program + check], cwd=clone, check=True)
    assert (clone / "result.png").exists()


@pytest.mark.parametrize("script", sorted((ROOT / "uwct" / "weights").glob("*.sh")), ids=lambda path: path.stem)
def test_the_scripts_that_make_the_weights_give_commands_that_fit_together(script, tmp_path, environment):
    """A `python` that only writes down what it is asked: training itself is run by the other tests."""
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> commands\n')
    (tmp_path / "python").chmod(0o755)
    path = f"{tmp_path}:{environment['PATH']}"
    subprocess.run(["bash", script, "--seed", "3"], cwd=tmp_path, env={**environment, "PATH": path}, check=True)
    made, levels = {"vgg16"}, set()  # models, and what levels they have
    for line in (tmp_path / "commands").read_text().splitlines():
        arguments = train.parse(line.removeprefix("train.py ").split(), "train.py")
        arguments.check()
        assert arguments.config.seed == 3
        assert {arguments.init or "vgg16", arguments.backbone} <= made
        made.add(str(arguments.folder / "model.safetensors"))
        levels |= {(str(arguments.folder), level) for level in arguments.levels}
    assert {level for _, level in levels} == set(range(1, 6))


def test_the_style_pictures_are_what_their_script_draws(clone):
    stored = {path.name: np.asarray(Image.open(path), float) for path in (clone / "examples" / "styles").iterdir()}
    assert len(stored) == 5
    shutil.rmtree(clone / "examples" / "styles")
    subprocess.run([sys.executable, "examples/draw_styles.py"], cwd=clone, check=True)
    for name, drawn in stored.items():
        assert np.abs(np.asarray(Image.open(clone / "examples" / "styles" / name), float) - drawn).mean() < 1


def test_every_picture_that_readme_shows_is_there_and_every_gallery_picture_is_shown():
    shown = set(re.findall(r'src="([^"]+)"|!\[[^]]*\]\(([^)]+)\)', (ROOT / "README.md").read_text()))
    shown = {a or b for a, b in shown}
    assert all((ROOT / path).is_file() for path in shown)
    assert {f"examples/gallery/{path.name}" for path in (ROOT / "examples" / "gallery").iterdir()} <= shown


def test_the_presets_are_what_readme_says():
    rows = re.findall(r"^\| `(\w+)` \| ((?:\d: [\d.]+(?:, )?)+) \|", (ROOT / "README.md").read_text(), re.M)
    assert dict(rows) == {
        name: ", ".join(f"{level}: {alpha:g}" for level, alpha in zip(preset.levels, preset.alpha, strict=True))
        for name, preset in PRESETS.items()
    }
