"""What `python train.py` is asked to do."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from uwct.cli.parsing import parsed
from uwct.judge.evaluation import SMALLEST
from uwct.networks.config import LEVELS, check_level
from uwct.training.config import RECIPES, TrainConfig

HELP = """Train decoders, which turn the features of a pretrained network back into pictures, or an encoder with them.

Stylizing encodes a photo with a pretrained network (the encoder, VGG or a narrower one), changes the statistics of its
features, and needs a decoder to get a picture again, one for each of five levels of depth. By default this command
trains decoders, on any photographs, to reconstruct each photograph from its features; the encoder stays as it is, and
no painting is involved. Other tasks (--task) train encoders too, and "painters" needs paintings.

Run it again with the same arguments after an interruption and it goes on from its last checkpoint, to the very result
that it would have had (on a GPU: if XLA_FLAGS=--xla_gpu_deterministic_ops=true is set, which makes steps slower).
SIGTERM saves and ends it. With more --steps a finished training goes on, where its learning rate does not fall until
the last step. The output folder gets model.safetensors, which gains a decoder with every level trained,
table.md, curves.png, reconstructions.png, and for every level its checkpoints, metrics.jsonl and TensorBoard's events.

All local GPUs or TPU cores are used. On several hosts run the same command on each, with --cluster, or with
--coordinator HOST:PORT --processes N --process I.

Examples:
  uwct train --data folder:examples/photos --levels 1 2 3 4 5 --output runs/mine
  uwct train --data coco/2017 --recipe fast --output runs/coco
  uwct train --data folder:photos --test folder:unseen --recipe fast --output runs/fast
  uwct train --data folder:photos --levels 1 --optimizer least-squares --steps 100 --batch 16 --crop 64
  uwct train --task autoencoders --init small --recipe sharp --data folder:photos --levels 4 --output runs/sharp
  uwct train --evaluate small --test folder:examples/photos"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = RECIPES["paper"]
    recipe: Literal["paper", "fast", "sharp", "paint"] = "paper"
    """Where the defaults of --optimizer, --batch, --crop and the like come from: the paper; what learns faster; what
    brings decoders that gave blurred pictures to sharp ones; or what "painters" learn by."""
    task: Literal["decoders", "autoencoders", "painters", "distill"] = "decoders"
    """What to train: decoders for a fixed encoder; each level's encoder together with its decoder, from those of --init
    on ("autoencoders"); those of all levels of the preset "paint" at once, by the pictures that they paint in the
    manner of --styles ("painters"); or a narrow encoder that predicts the features of the one in --init ("distill"),
    together with decoders of its own. uwct/weights/small.sh shows how one follows the other."""
    levels: Annotated[tuple[int, ...], tyro.conf.arg(metavar="LEVEL [LEVEL ...]")] = LEVELS
    """The levels to train decoders for, in this order; 1 is the shallowest, 5 the deepest."""
    backbone: Annotated[str, tyro.conf.arg(metavar="MODEL")] = "vgg16"
    """The encoder: vgg16, small, vgg19, or a model file that holds its encoder."""
    decoder_width: float = 1.0
    """The decoders' channels as a fraction of the encoder's; 0.5 makes them about four times smaller and faster."""
    init: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """A model (name or file) to start from; layers that it lacks start from the next shallower level."""
    deepen: bool = False
    """For "autoencoders": start each level from the encoder and the decoder of the level before, whatever --init has of
    it."""
    critic: Annotated[str, tyro.conf.arg(metavar="MODEL")] = "vgg16"
    """The encoder (a model's name or file) by whose features --perceptual-weight judges reconstructions, and
    --teacher-weight encoders that learn."""
    styles: Annotated[str | None, tyro.conf.arg(metavar="folder:PATH|NAME")] = None
    """For "painters": paintings, or what is to pass for them; examples/paintings.py makes some of photographs."""
    judge_steps: int = 4000
    """For "distill": steps of the second stage, in which decoders judge the encoder too."""
    test: Annotated[str | None, tyro.conf.arg(metavar="folder:PATH|NAME")] = None
    """Photographs to test on at every checkpoint, never trained on; the best checkpoint becomes the result. By default
    those of --data if it is a data set of tensorflow-datasets, else none."""
    test_split: str = "train[8000:10000]"
    """The part of the data set in --test, where that is one of tensorflow-datasets."""
    test_count: int = 2000
    """How many of the test photographs are used, as central crops; 0 means all."""
    test_crop: int = 224
    """Height and width of the test crops in pixels, a multiple of 16."""
    data_dir: str | None = None
    """Where tensorflow-datasets keeps its data sets; by default its own folder."""
    output: Path | None = None
    """Folder for all results; by default runs/NAME, with NAME that of --backbone for decoders (runs/vgg16), "small" for
    "distill", else that of the task (runs/painters)."""
    save_every: int = 500
    """Steps between checkpoints."""
    evaluate: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Train nothing; print the table of a model (name or file), measured on the photographs of --test."""
    cluster: bool = False
    """Take coordinator and processes from the environment of a Cloud TPU pod, Slurm, Open MPI or Kubernetes."""
    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """Where process 0 listens, when several train together."""
    processes: int = 1
    """How many processes train together, usually one a host."""
    process: int | None = None
    """The number of this process, from 0."""

    @property
    def folder(self) -> Path:
        """The output folder."""
        name = {"decoders": Path(self.backbone).stem, "distill": "small"}.get(self.task, self.task)
        return self.output or Path("runs") / name

    def check(self) -> None:
        """Raises ValueError for arguments that would fail later."""
        for level in self.levels:
            check_level(level)
            if level == 1 and self.config.bridge_steps:
                raise ValueError("level 1 has no shallower level to build a bridge to; leave out bridge_steps")
        if self.config.optimizer == "least-squares" and (self.levels != (1,) or self.task != "decoders"):
            raise ValueError(f"least-squares solves level 1 only, not levels {list(self.levels)}")
        if self.config.optimizer == "least-squares" and self.processes > 1:
            raise ValueError("least-squares runs in one process")
        if self.task == "distill" and self.init is None:
            raise ValueError("distill needs the model to learn from, with its decoders: give --init")
        if self.task == "autoencoders" and self.init is None:
            raise ValueError("autoencoders need a model to start from, with its decoders: give --init")
        if self.deepen and (self.task != "autoencoders" or 1 in self.levels):
            raise ValueError("--deepen is for autoencoders of --levels from 2 on, which have a level before them")
        if self.task == "painters" and self.init is None:
            raise ValueError("painters need a model to start from, with its decoders: give --init")
        if (self.task == "painters") != (self.styles is not None):
            raise ValueError("painters need --styles, and nothing else takes them")
        if self.task == "painters" and self.levels != LEVELS:
            raise ValueError("painters train all levels of the preset paint together; leave out --levels")
        if self.test_crop < SMALLEST or self.test_crop % 16:
            raise ValueError(f"test_crop must be a multiple of 16 from {SMALLEST} on, not {self.test_crop}")
        if self.test_count < 0 or self.save_every < 1 or self.judge_steps < 1:
            raise ValueError("test_count must not be negative, and save_every and judge_steps must be at least 1")
        if self.evaluate and not self.test:
            raise ValueError("--evaluate needs photographs: give --test")


def parse(words: list[str], prog: str) -> Arguments:
    """The arguments, with the defaults of the recipe that they name."""

    @dataclasses.dataclass(frozen=True)
    class Recipe:
        recipe: Literal["paper", "fast", "sharp", "paint"] = "paper"

    chosen, _ = tyro.cli(Recipe, args=words, prog=prog, return_unknown_args=True, add_help=False)
    default = Arguments(config=RECIPES[chosen.recipe], recipe=chosen.recipe)
    arguments: Arguments = parsed(Arguments, words, prog, HELP, default=default)
    return arguments
