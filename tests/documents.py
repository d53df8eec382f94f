"""The documents, and what in them is run: commands, programs, pictures."""

import ast
import re
from pathlib import Path

from uwct.cli import evaluate, measure, stylize, texture
from uwct.cli.tasks import arguments as training

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "MODEL_CARD.md", *sorted((ROOT / "docs").glob("*.md"))]
# What makes the long commands short enough for a test.
SHORT = {
    "train": "--levels 1 2 --steps 2 --batch 2 --crop 16 --decoder-width 0.1 --test-count 1 --test-crop 64 "
    "--split train[:2] --test-split train[2:]",
    "least-squares": "--levels 1",
    "autoencoders": "--decoder-width 1 --levels 2",
    "--refine": "--refine-steps 2",
    "painters": "--decoder-width 1 --crop 32 --short-side 32 --levels 1 2 3 4 5",
    "examples/paintings.py": "--count 2",
    "examples/robustness.py": "--digits 8 --copies 1 --steps 2",
    "measure": "--count 1 --crop 32",
    "benchmarks/training.py": "--levels 2 --batch 1 --crop 32 --rounds 1 --steps 1",
    "benchmarks/data.py": "--level 1 --batch 2 --crop 32 --batches 2 --rounds 1 --threads 2",
    "benchmarks/stylize.py": "--models small --sizes 32 --sides uwct eager --repeats 1",
    "benchmarks/long_run.py": "--pictures 4 --shapes 2 --size 32 --levels 1",
    "benchmarks/start.py": "--photos 4 --size 64",
    "benchmarks/augment.py": "--pictures 4 --size 64 --sides one",
    "benchmarks/tiling.py": "--megapixels 0.02 --levels 1 --tile 128",
    "benchmarks/refine.py": "--size 64 --steps 2 --most 1",
    "benchmarks/photo.py": "--size 128 --megapixels 0.01",
    "benchmarks/video.py": "--size 64 --frames 2 --temporal 0.5 --refine-steps 1",
    "benchmarks/recipes.py": "--level 1 --minutes 0.01 --batch-scale 0.05 --crop 16 --test-count 1 --test-crop 64",
}
SIZED = ("stylize", "texture")  # which have one size for all here, so that its programs are compiled once
SIZE = ["--size", "96"]
PAINTING = ("stylize", "texture", "grid", "style", "augment", "video", "evaluate")
NOT_RUN = re.compile(
    r"python -m (pip|pytest|http)|uwct (web|export --format web)"
)  # installed, tested, served elsewhere


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language in Markdown."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def sequences() -> dict[str, list[str]]:
    """By name, the commands that are run one after the other in one folder: those of a block, or of a help text.

    Each is run once, where it stands first, whether by a launcher (`python stylize.py`) or as `uwct stylize`.
    """
    found = {
        f"{page.stem} {i}": block for page in PAGES for i, block in enumerate(blocks(page.read_text(), "sh"), start=1)
    }
    found |= {f"{name}'s docstring": ast.get_docstring(ast.parse((ROOT / name).read_text())) for name in LAUNCHERS}
    found |= {f"{module.__name__}'s help": module.HELP for module in (stylize, texture, training, measure, evaluate)}
    lines = {name: [line.strip() for line in text.splitlines()] for name, text in found.items()}
    commands = {
        n: [x for x in ls if re.match(r"(python|uwct) ", x) and not NOT_RUN.match(x)] for n, ls in lines.items()
    }
    result, seen = {}, set()
    for name, chosen in commands.items():
        if new := [line for line in dict.fromkeys(chosen) if as_command(line) not in seen]:
            result[name] = new
            seen.update(map(as_command, new))
    return result


LAUNCHERS = ("stylize.py", "train.py")


def as_command(line: str) -> str:
    """A line with `uwct NAME` for the launcher `python NAME.py`."""
    return re.sub(r"^python (\w+)\.py ", r"uwct \1 ", line)


def shortened(words: list[str]) -> list[str]:
    """The words of a command (without `python` or `uwct`), and what makes it short: smaller pictures and networks."""
    if "/" in words[0]:
        return [*words, *SHORT.get(words[0], "").split()]
    name, more = words[0].removesuffix(".py"), []
    if "--size" in words:
        at = words.index("--size")
        words = [*words[:at], *SIZE, *words[at + 2 :]]
    elif name in SIZED and "--shape" not in words:
        more += SIZE
    more += SHORT.get(name, "").split()
    if name == "train":
        more += [word for key, value in SHORT.items() if key in words for word in value.split()]
    if "--refine" in words:
        more += SHORT["--refine"].split()
    if name in PAINTING and "--model" not in words and "info" not in words:
        more += ["--model", "small"]
    return [*words, *more]
