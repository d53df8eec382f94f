"""`uwct augment`: a data set of pictures in random styles."""

import dataclasses
import functools
import hashlib
import json
import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tqdm import tqdm

from uwct.cli.cache import keep_programs, make_room
from uwct.cli.dtypes import dtype_for
from uwct.cli.encoding import encode_file
from uwct.cli.errors import fail_partly, one_sentence, sentence
from uwct.cli.limits import MEGAPIXELS, MaxMegapixels, check_size, pixel_limit
from uwct.cli.look import Name
from uwct.cli.manifest import versions
from uwct.cli.networks import Networks
from uwct.cli.parsing import parsed
from uwct.cli.sizes import check_memory, sized
from uwct.datasets.cores import share
from uwct.datasets.folders import Folder
from uwct.datasets.formats import Format
from uwct.datasets.parquet import Parquet
from uwct.datasets.records import Records
from uwct.datasets.stylizer import Stylizer
from uwct.datasets.tars import Tars
from uwct.datasets.work import Work
from uwct.files import read_lines
from uwct.networks.config import ModelConfig, check_level
from uwct.networks.model import Model, read_config
from uwct.pictures import images
from uwct.pipeline.padding import STRIDE
from uwct.pipeline.style_pool import style_files
from uwct.pipeline.styles import Style

HELP = """Make a data set of pictures in random styles, for training other networks.

Networks that learn to recognise things lean on texture. Trained on pictures whose textures and colors are those of
random paintings, they look at shapes more (Geirhos et al., ICLR 2019).

IN is a folder of pictures and of subfolders, which may be classes; a folder of WebDataset tars, or of Parquet files of
Hugging Face datasets; or a data set of tensorflow-datasets, its folder or tfds:NAME. OUT becomes one of the same kind,
with the same labels, in which every picture is there --per-image times, each time in one of the styles and of a
strength drawn at random. The same seed and --workers give the same files however the work is spread (--shard,
--engine beam). Started again, the command goes on with what is missing; with other options or styles it refuses to mix
both. Of a folder OUT/manifest-0-of-1.jsonl tells what was drawn (with --shard I/N: manifest-I-of-N.jsonl), of other
kinds the data set itself.

Examples:
  uwct augment photos stylized --styles paintings --per-image 2 --size 256
  uwct augment tfds:imagenette stylized --styles paintings --preset gentle --plain 0.5"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(name="in", metavar="IN")]
    """The pictures: a folder, or tfds:NAME."""
    output: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="out", metavar="OUT")]
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
    plain: float = 0.0
    """The share of them that is left as it is, from 0 to 1."""
    preset: Name | None = None
    """Settings that go well together (see uwct stylize); its strengths are multiplied with those of --alpha, and
    --levels, --transform, --shrinkage and --style-size do not count."""
    levels: Annotated[tuple[int, ...], tyro.conf.arg(metavar="LEVEL [LEVEL ...]")] = (4, 3, 2, 1)
    """Which of the five levels to use; they always run from the deepest (5) to the shallowest (1)."""
    transform: Literal["wct", "monge", "adain"] = "monge"
    """How features take on the style's statistics."""
    shrinkage: float = 0.3
    """From 0 to 1: how much faint variation is kept from being blown up."""
    size: int = 0
    """Long side of the results in pixels; 0 keeps each picture's size."""
    grid: int = STRIDE
    """Pictures are padded to multiples of so many pixels, and each new size of that is compiled for, which takes longer
    than many pictures; 64 where sizes differ much. A multiple of 16."""
    together: int = 1
    """How many pictures of a size are painted at once: more are faster on GPUs. The last bits of results may then
    depend on it. A folder of pictures goes one by one."""
    refine_steps: int = 0
    """By how many steps each of them is then refined (see uwct stylize --refine): seconds for each picture."""
    style_size: int = 512
    """Long side in pixels to which the styles are resized; 0 keeps them as they are."""
    style_store: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Where styles are kept as style files once they were drawn: 0.3 MiB each with small, 2.3 with vgg16; with
    --refine-steps 5.0 and 7.0. By default beside OUT, as OUT.styles. All processes, and further runs, may have one."""
    seed: int = 0
    """The seed of all that is drawn."""
    shard: Annotated[str, tyro.conf.arg(metavar="I/N")] = "0/1"
    """Do one of N parts of the work, I from 0 to N - 1: every N-th picture, or file of the data set, from number I on.
    One command a computer of a cluster."""
    split: str = "train"
    """Which split of a data set of tensorflow-datasets."""
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Where tensorflow-datasets keeps its data sets; by default its own folder."""
    engine: Literal["local", "beam"] = "local"
    """What spreads the work: this process alone, or Apache Beam (the extra beam)."""
    workers: int = 1
    """How many processes paint on each computer: so many are started by --engine beam; without it, say how many of
    these commands run side by side. On Linux each keeps to its part of the cores: two with a core each paint some 1.7
    times as many pictures as one with two. How sums are rounded depends on it, so the same bytes come of the same
    number."""
    beam_options: str = ""
    """Other options of Beam and of its runner, as one word behind an =: --beam-options="--runner FlinkRunner"."""
    max_megapixels: MaxMegapixels = MEGAPIXELS
    """Pictures of more million pixels are refused before they are decoded: a small file can claim any size."""


def main(argv: list[str] | None = None, prog: str = "uwct augment") -> None:
    """Augments, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    keep_programs()  # and not start_quickly: the same bytes as those of a Stylizer elsewhere
    with one_sentence(), pixel_limit(arguments.max_megapixels):
        part, parts = check(arguments)
        failures = run(arguments, part, parts)
    fail_partly(failures)


def check(arguments: Arguments) -> tuple[int, int]:
    """Which part of how many to do; raises ValueError for options that do not make sense, and that no other checks."""
    if not arguments.levels or len(set(arguments.levels)) != len(arguments.levels):
        raise ValueError(f"--levels must name levels, each once, not {list(arguments.levels)}")
    for level in arguments.levels:
        check_level(level)
    check_size("--size", arguments.size)
    check_size("--style-size", arguments.style_size)
    if arguments.workers < 1:
        raise ValueError(f"--workers must be at least 1, not {arguments.workers}")
    found = re.fullmatch(r"(\d+)/(\d+)", arguments.shard)
    if not found or not int(found[1]) < int(found[2]):
        raise ValueError(f"--shard must be I/N with I from 0 to N - 1, not {arguments.shard}")
    if arguments.engine == "beam" and arguments.shard != "0/1":
        raise ValueError("--shard and --engine beam exclude each other: Beam spreads the work itself")
    return int(found[1]), int(found[2])


def run(arguments: Arguments, part: int, parts: int) -> list[str]:
    """Does what is not done yet of a part; returns what was wrong with pictures that were passed over."""
    failures: list[str] = []
    with share(arguments.workers):  # with Beam too, since the first style is encoded here
        work, shards = work_of(arguments)
        if left := work.left(shards[part::parts]):
            styles = work.stylizer.readable.faults  # raises where there is nothing to paint with, or in
            if arguments.engine == "local":
                unit = "picture" if isinstance(work.data, Folder) else "shard"
                manifest = arguments.output / f"manifest-{part}-of-{parts}.jsonl"
                reports = [work(shard, manifest) for shard in tqdm(left, unit=unit)]
                failures += [*map(sentence, styles.values()), *(text for report in reports for text in report.failures)]
    if left and arguments.engine == "beam":
        failures += by_beam(arguments, work, left)
    if not work.left(shards):
        work.finish()
    return failures


def work_of(arguments: Arguments) -> tuple[Work, list[str]]:
    """What is to be done, to which shards; raises ValueError where OUT does not fit, or holds something else."""
    stylizer, data = stylizer_of(arguments), data_of(arguments)
    shards = data.shards()  # raises before anything is written
    if isinstance(data, Folder):
        data.check(shards, stylizer.names(""))
    how = said(arguments, style_files(arguments.styles))
    check_same(arguments.output, how)
    arguments.output.mkdir(parents=True, exist_ok=True)
    images.check_folder(arguments.output)
    return Work(data, stylizer, how | {"versions": versions()}, sentence), shards


def by_beam(arguments: Arguments, work: Work, shards: list[str]) -> list[str]:
    """The same by Apache Beam."""
    try:
        from uwct import beam
    except ImportError as error:
        raise ImportError(f'--engine beam needs Apache Beam: python -m pip install ".[beam]" ({error})') from None
    options, workers = shlex.split(arguments.beam_options), arguments.workers
    if workers > 1:
        options = [f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing", *options]
    work = dataclasses.replace(work, stylizer=dataclasses.replace(work.stylizer, workers=workers))
    return beam.run(work, shards, options)


def stylizer_of(arguments: Arguments) -> Stylizer:
    """What paints; raises ValueError for options that do not make sense."""
    output = arguments.output.resolve()
    names = ("seed", "mixed", "alpha", "plain", "preset", "levels", "transform", "shrinkage", "style_size")
    options = {name: getattr(arguments, name) for name in (*names, "refine_steps", "grid", "together")}
    store = arguments.style_store or output.with_name(f"{output.name}.styles")
    for written in (arguments.output, store):
        check_outside(written, arguments.styles)
    networks, options["copies"] = arguments.networks, arguments.per_image
    options["encode"] = reading_of(arguments).encode
    try:
        return Stylizer(arguments.styles, store, networks.model, dtype_for(networks.dtype), **options)
    except ValueError as fault:  # which begins with the name of a setting
        name, rest = str(fault).split(" ", 1)
        raise ValueError(f"--{'per-image' if name == 'copies' else name.replace('_', '-')} {rest}") from None


def data_of(arguments: Arguments) -> Format:
    """What is read and written: by the prefix tfds:, or by what lies in a folder."""
    name = arguments.source.removeprefix("tfds:")
    source, output = Path(name), arguments.output
    reading = reading_of(arguments)
    if not name:
        raise ValueError(f"IN must be a folder or tfds:NAME, not {arguments.source!r}")
    if name != arguments.source:
        return Records(name, output, arguments.split, arguments.data_dir, reading.decode)
    if not source.is_dir():
        raise FileNotFoundError(f"there is no folder {source}; data sets of tensorflow-datasets are called tfds:NAME")
    check_outside(output, source)
    if (source / "dataset_info.json").exists():
        return Records(name, output, arguments.split, None, reading.decode)
    if any(source.glob("*.tar")):
        return Tars(source, output, reading.decode)
    if any(source.glob("*.parquet")):
        return Parquet(source, output, reading.decode)
    return Folder(source, output, reading.load)


def check_outside(written: Path, searched: Path) -> None:
    """Raises ValueError for a folder to write to that would be searched for what to read."""
    if written.resolve().is_relative_to(searched.resolve()):
        raise ValueError(f"{written} must lie outside {searched}, which is searched whole")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How pictures are read, by any worker: within the bounds of size and memory."""

    size: int
    copies: int
    model: str
    megapixels: float

    def load(self, path: Path) -> images.Picture:
        """The picture of a file."""
        config = config_of(self.model)
        with pixel_limit(self.megapixels):
            _, picture = sized(path, "--size", self.size, config)
        self._check(picture, str(path), config)
        return picture

    def decode(self, data: bytes, name: str) -> images.Picture:
        """The picture in the bytes of a file."""
        with pixel_limit(self.megapixels):
            picture = images.decode(data, name)
        picture = images.resize(picture, images.fitted(picture.rgb.shape[:2], self.size))
        self._check(picture, name, config_of(self.model))
        make_room()
        return picture

    def encode(self, path: Path, model: Model, long_side: int, *, vgg: Model | None = None) -> Style:
        """The style of a file."""
        with pixel_limit(self.megapixels):
            return encode_file(path, model, long_side, None, vgg)

    def _check(self, picture: images.Picture, name: str, config: ModelConfig) -> None:
        height, width = picture.rgb.shape[:2]
        check_memory(name, "--size", height * self.copies, width, config)


def reading_of(arguments: Arguments) -> Reading:
    """How pictures and styles are read."""
    return Reading(arguments.size, arguments.per_image, arguments.networks.model, arguments.max_megapixels)


config_of = functools.cache(read_config)  # asked for every picture


def said(arguments: Arguments, styles: list[Path]) -> dict[str, Any]:
    """What a result depends on: options, and which styles there are."""
    names = ("per_image", "mixed", "plain", "preset", "levels", "transform", "shrinkage", "size", "grid", "style_size")
    options = {name: getattr(arguments, name) for name in (*names, "refine_steps", "seed")}
    options |= {"alpha_range": arguments.alpha}
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
