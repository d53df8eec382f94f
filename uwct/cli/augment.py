"""`uwct augment`: a data set of pictures in random styles."""

import dataclasses
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array
from tqdm import tqdm

from uwct.cli.cache import start_quickly
from uwct.cli.errors import FAULTS, fail_partly, one_sentence, sentence
from uwct.cli.manifest import versions
from uwct.cli.networks import Networks
from uwct.cli.sizes import MEGAPIXELS, MaxMegapixels, check_memory, check_size, pixel_limit, sized
from uwct.cli.styles import encode_file
from uwct.files import append_line, files_in, read_lines
from uwct.networks.model import Model
from uwct.networks.vgg import check_level
from uwct.pictures import images
from uwct.pipeline.augment import Draw, as_drawn, draw
from uwct.pipeline.level import Settings
from uwct.pipeline.presets import TRANSFORMS
from uwct.pipeline.style_files import is_style
from uwct.pipeline.style_pool import StylePool
from uwct.pipeline.styles import Style, stack_styles

HELP = """Make a data set of pictures in random styles, for training other networks.

Networks that learn to recognise things lean on texture. Trained on pictures whose textures and colors are those of
random paintings, they look at shapes more (Geirhos et al., ICLR 2019).

Every picture of the folder IN, and of its subfolders, is written to OUT --per-image times, each time in one of the
styles and of a strength drawn at random. The same seed gives the same files however the work is spread (--shard).
Started again, the command goes on with what is missing; with other options or styles it refuses to mix both.
OUT/manifest-0-of-1.jsonl tells what was drawn.

Example:
  uwct augment photos stylized --styles paintings --per-image 2 --size 256"""

Folder = Annotated[Path, tyro.conf.Positional]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    source: Annotated[Folder, tyro.conf.arg(name="in")]
    """The folder of pictures."""
    output: Annotated[Folder, tyro.conf.arg(name="out")]
    """The folder to write to, which is made if need be; it gets the same subfolders."""
    networks: Annotated[Networks, tyro.conf.arg(name="")]
    styles: Path
    """The folder of style pictures and style files, as many as there are."""
    per_image: int = 1
    """How many stylized pictures to make of each; a single one keeps the picture's name."""
    mixed: int = 1
    """How many styles are mixed for each of them, with shares drawn at random."""
    alpha: tuple[float, float] = (0.6, 1.0)
    """The range of strengths, from 0 (as it is) to 1 (all style)."""
    levels: Annotated[tuple[int, ...], tyro.conf.arg(metavar="LEVEL [LEVEL ...]")] = (4, 3, 2, 1)
    """Which of the five levels to use; they always run from the deepest (5) to the shallowest (1)."""
    transform: Literal["wct", "monge", "adain"] = "monge"
    """How features take on the style's statistics."""
    shrinkage: float = 0.3
    """From 0 to 1: how much faint variation is kept from being blown up."""
    size: int = 0
    """Long side of the results in pixels; 0 keeps each picture's size. Each new size is compiled for."""
    style_size: int = 512
    """Long side in pixels to which the styles are resized; 0 keeps them as they are."""
    style_store: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Where styles are kept as style files once they were drawn: 0.3 MiB each with small, 2.3 with vgg16. By default
    beside OUT, as OUT.styles. All shards, and further runs, may have one."""
    seed: int = 0
    """The seed of all that is drawn."""
    shard: Annotated[str, tyro.conf.arg(metavar="I/N")] = "0/1"
    """Do the I-th of N parts of the work, I from 0 to N - 1: one command a computer of a cluster."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A picture and what to write of it."""

    source: Path
    outputs: tuple[Path, ...]


def main(argv: list[str] | None = None, prog: str = "uwct augment") -> None:
    """Augments, as the help says."""
    arguments = tyro.cli(Arguments, args=argv, prog=prog, description=HELP)
    start_quickly()
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        part, parts = check(arguments)
        tasks = plan(arguments)[part::parts]
        failures = run(arguments, tasks, arguments.output / f"manifest-{part}-of-{parts}.jsonl")
    fail_partly(failures)


def check(arguments: Arguments) -> tuple[int, int]:
    """Which part of how many to do; raises ValueError for options that do not make sense."""
    if arguments.per_image < 1 or arguments.mixed < 1:
        option, given = ("mixed", arguments.mixed) if arguments.per_image > 0 else ("per-image", arguments.per_image)
        raise ValueError(f"--{option} must be at least 1, not {given}")
    low, high = arguments.alpha
    if not 0 <= low <= high <= 1:
        raise ValueError(f"--alpha must be two numbers from 0 to 1, the smaller first, not {low:g} {high:g}")
    if not arguments.levels or len(set(arguments.levels)) != len(arguments.levels):
        raise ValueError(f"--levels must name levels, each once, not {list(arguments.levels)}")
    for level in arguments.levels:
        check_level(level)
    if not 0 <= arguments.shrinkage <= 1:
        raise ValueError(f"--shrinkage must lie between 0 and 1, not {arguments.shrinkage:g}")
    if not 0 <= arguments.seed < 2**32:
        raise ValueError(f"--seed must lie between 0 and 2^32, not {arguments.seed}")
    check_size("--size", arguments.size)
    check_size("--style-size", arguments.style_size)
    found = re.fullmatch(r"(\d+)/(\d+)", arguments.shard)
    if not found or not int(found[1]) < int(found[2]):
        raise ValueError(f"--shard must be I/N with I from 0 to N - 1, not {arguments.shard}")
    return int(found[1]), int(found[2])


def plan(arguments: Arguments) -> list[Task]:
    """All pictures and their outputs; raises ValueError or OSError for folders that do not do."""
    source, output = arguments.source, arguments.output
    if source.resolve() == output.resolve() or source.resolve() in output.resolve().parents:
        raise ValueError(f"{output} must lie outside {source}, which is searched whole")
    tasks: list[Task] = []
    seen: set[Path] = set()
    for path in images.pictures_in(source, recursive=True):
        inside = path.relative_to(source)
        suffix = path.suffix if path.suffix.lower() in images.SUFFIXES else f"{path.suffix}.png"
        numbers = [f"_{i}" for i in range(arguments.per_image)] if arguments.per_image > 1 else [""]
        names = tuple(output / inside.with_name(f"{path.stem}{number}{suffix}") for number in numbers)
        if seen & set(names):
            raise ValueError(f"two pictures would be written to {min(seen & set(names))}; rename their files")
        seen |= set(names)
        tasks.append(Task(path, names))
    output.mkdir(parents=True, exist_ok=True)
    images.check_folder(output)
    return tasks


def run(arguments: Arguments, tasks: list[Task], manifest: Path) -> list[str]:
    """Does what is not done yet; returns what was wrong with pictures that were passed over."""
    paths = style_files(arguments.styles)
    how = said(arguments, paths)
    output = arguments.output.resolve()
    check_same(output, how)
    missing = [task for task in tasks if not all(path.exists() for path in task.outputs)]
    if not missing:
        return []
    model = arguments.networks.load(arguments.levels)
    store = (arguments.style_store or output.with_name(f"{output.name}.styles")) / f"size{arguments.style_size}"
    pool = StylePool(paths, model, lambda path: encode_file(path, model, arguments.style_size), store, arguments.styles)
    styles, failures = Styles(pool), list[str]()
    how["versions"] = versions()
    for task in tqdm(missing, unit="picture"):
        try:
            picture, drawn, results = paint(arguments, task, model, styles)
            # First the lines, then the files: so that there is none without its line, whenever this ends.
            for i, path in enumerate(task.outputs):
                names = [str(paths[style]) for style in drawn.styles[i]]
                shares = {"styles": names, "weights": drawn.weights[i].tolist(), "alpha": float(drawn.strengths[i])}
                append_line(manifest, {"source": str(task.source), "output": str(path), **shares, **how})
            for path, rgb in zip(task.outputs, results, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                images.write(path, dataclasses.replace(picture, rgb=rgb))
        except FAULTS as fault:
            failures.append(f"{task.source}: {sentence(fault)}")
    return [*map(sentence, styles.faults.values()), *failures]


class Styles:
    """The styles of a pool that can be read, and what is wrong with the others, as far as they were asked for."""

    def __init__(self, pool: StylePool) -> None:
        """Raises what is wrong with the last style when none can be read."""
        self.pool = pool
        self.faults: dict[int, BaseException] = {}  # by the style's index
        self.readable(0)

    def readable(self, index: int) -> int:
        """The index of a style, or of the next that can be read: the same whoever asks."""
        for step in range(len(self.pool)):
            following = (index + step) % len(self.pool)
            if following in self.faults:
                continue
            try:
                self.pool[following]
            except FAULTS as fault:
                self.faults[following] = fault
            else:
                return following
        raise list(self.faults.values())[-1]

    def draw(self, key: Array, arguments: Arguments) -> tuple[Draw, list[Style]]:
        """What is drawn for the outputs of a picture; and for each number of the mixture the stack of their styles."""
        drawn = draw(key, arguments.per_image, len(self.pool), arguments.alpha, arguments.mixed)
        drawn = jax.tree.map(np.asarray, drawn)
        drawn = drawn._replace(styles=np.vectorize(self.readable)(drawn.styles))
        return drawn, [stack_styles([self.pool[index] for index in column]) for column in drawn.styles.T]


def said(arguments: Arguments, styles: list[Path]) -> dict[str, Any]:
    """What a result depends on: options, and which styles there are."""
    names = ("per_image", "mixed", "levels", "transform", "shrinkage", "size", "style_size", "seed")
    options = {name: getattr(arguments, name) for name in names} | {"alpha_range": arguments.alpha}
    listed = "\n".join(f"{path.relative_to(arguments.styles).as_posix()} {path.stat().st_size}" for path in styles)
    digest = hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()[:16]
    return options | dataclasses.asdict(arguments.networks) | {"style_files": digest}


def check_same(output: Path, how: dict[str, Any]) -> None:
    """Raises ValueError where what lies in a folder was made in another way, as the manifests there say."""
    now = json.loads(json.dumps(how))
    for manifest in sorted(output.glob("manifest-*.jsonl")):
        for line in read_lines(manifest)[:1]:
            for name, value in now.items():
                if name in line and line[name] != value:
                    option = {"style_files": "styles", "alpha_range": "alpha"}.get(name, name).replace("_", "-")
                    differs = "with other files" if name == "style_files" else f"{line[name]}, not {value}"
                    raise ValueError(
                        f"{output} holds pictures that were made with another --{option} ({differs}); "
                        "name another folder, or the same options"
                    )


def style_files(folder: Path) -> list[Path]:
    """The pictures and style files in a folder and its subfolders, sorted; raises ValueError for none."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = [p for p in files_in(folder, recursive=True) if is_style(p) or p.suffix.lower() in images.READABLE]
    if not found:
        raise ValueError(f"the folder {folder} holds no styles")
    return sorted(found)


def paint(arguments: Arguments, task: Task, model: Model, styles: Styles) -> tuple[images.Picture, Draw, np.ndarray]:
    """A picture, what was drawn for each of its outputs, and the outputs `[N, H, W, 3]`."""
    _, picture = sized(task.source, "--size", arguments.size, model.config)
    height, width = picture.rgb.shape[:2]
    check_memory(str(task.source), "--size", height * len(task.outputs), width, model.config)
    drawn, chosen = styles.draw(picture_key(arguments.seed, task.source.relative_to(arguments.source)), arguments)
    batch = jnp.broadcast_to(jnp.asarray(picture.rgb), (len(task.outputs), *picture.rgb.shape))
    levels = tuple(sorted(arguments.levels, reverse=True))
    settings = Settings(levels, arguments.shrinkage, TRANSFORMS[arguments.transform])
    return picture, drawn, np.asarray(as_drawn(model, batch, chosen, drawn, settings))


def picture_key(seed: int, name: Path) -> Array:
    """The random key of a picture, by its path inside the folder: whoever does it draws the same."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.as_posix().encode()))
