"""`python train.py`, also installed as `uwct train`."""

import dataclasses
import datetime
import json
import shlex
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from tqdm import tqdm

import uwct.model as models
from uwct import data, training
from uwct.bridge import bridge_loss, init_bridge, join
from uwct.checkpoints import Checkpoints
from uwct.cli.errors import one_sentence
from uwct.config import LEVELS, TrainConfig
from uwct.least_squares import solve_linear_decoder
from uwct.vgg import check_level

Step = tuple[training.TrainState, training.Metrics]

HELP = """Train decoders, which turn the features of a pretrained network back into pictures.

Stylizing encodes a photo with a fixed network (the encoder, VGG), changes the statistics of its features, and needs a
decoder to get a picture again, one for each of five levels of depth. This command trains them, on any folder of
photographs, to reconstruct each photograph from its features; no painting is involved. Run it again with the same
arguments after an interruption and it goes on from its last checkpoint. The result, model.safetensors in the output
folder, gains a decoder with every level that is trained there.

Examples:
  python train.py --data folder:photos --levels 1 2 3 4 5
  python train.py --data folder:photos --levels 1 --optimizer least-squares --steps 100 --batch 16 --crop 64
  python train.py --data folder:photos --test folder:unseen --levels 3 --optimizer muon --learning-rate 0.005"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    test: Annotated[str | None, tyro.conf.arg(metavar="folder:PATH")] = None
    """Photographs to test on after each level; never trained on."""
    test_count: int = 64
    """How many of the test photographs are used, as central crops; 0 means all."""
    test_crop: int = 224
    """Height and width of the test crops in pixels, a multiple of 16."""
    levels: Annotated[tuple[int, ...], tyro.conf.arg(metavar="LEVEL [LEVEL ...]")] = LEVELS
    """The levels to train, in this order; 1 is the shallowest, 5 the deepest."""
    backbone: str = "vgg16"
    """The encoder: vgg16."""
    decoder_width: float = 1.0
    """The decoders' channels as a fraction of the encoder's; 0.5 makes them about four times smaller and faster."""
    init: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """A model (name or file) to start from; layers that it lacks start from the next shallower level."""
    output: Path = Path("runs/vgg16")
    """Folder for the checkpoints and for the result, model.safetensors."""
    save_every: int = 500
    """Steps between checkpoints."""


def main(argv: list[str] | None = None, prog: str = "train.py") -> None:
    """Trains, as the help says."""
    words = sys.argv[1:] if argv is None else argv
    with one_sentence():
        arguments = tyro.cli(Arguments, args=words, prog=prog, description=HELP)
        train(arguments, shlex.join(["python", "train.py", *words]))


def train(arguments: Arguments, command: str) -> None:
    """Trains one level after the other; after each, the model file holds all that is trained so far."""
    config, path = arguments.config, arguments.output / "model.safetensors"
    check(arguments)
    model, history = start(arguments, path)
    photographs = data.open_source(config.data)
    test = data.open_source(arguments.test) if arguments.test else None
    arguments.output.mkdir(parents=True, exist_ok=True)
    for level in arguments.levels:
        decoder = train_level(model, photographs, level, arguments)
        model = model.replace(params={**model.params, f"decoder{level}": decoder})
        record: dict[str, Any] = {"command": command, "date": datetime.date.today().isoformat()}
        if before := origin(history.get(f"decoder{level}"), command, arguments.config):
            record["before"] = before
        history[f"decoder{level}"] = record
        save(model, path, history)
        if test:
            batches = data.evaluation_batches(test, batch=8, crop=arguments.test_crop, count=arguments.test_count)
            record["test"] = training.evaluate(decoder, model.replace(dtype="float32"), batches, level=level)
            print(f"level {level}: test " + ", ".join(f"{k} {v:.4g}" for k, v in record["test"].items()), flush=True)
            save(model, path, history)
        print(f"level {level}: written to {path}", flush=True)


def check(arguments: Arguments) -> None:
    """Raises ValueError for arguments that would fail later."""
    for level in arguments.levels:
        check_level(level)
        if level == 1 and arguments.config.bridge_steps:
            raise ValueError("level 1 has no shallower level to build a bridge to; leave out bridge_steps")
    if arguments.config.optimizer == "least-squares" and arguments.levels != (1,):
        raise ValueError(f"least-squares solves level 1 only, not levels {list(arguments.levels)}")
    if arguments.test_crop < 16 or arguments.test_crop % 16:
        raise ValueError(f"test_crop must be a positive multiple of 16, not {arguments.test_crop}")
    if arguments.test_count < 0 or arguments.save_every < 1:
        raise ValueError("test_count must not be negative, and save_every must be at least 1")


def start(arguments: Arguments, path: Path) -> tuple[models.Model, dict[str, Any]]:
    """The encoder with the decoders of --init and of the model file in the output folder, and how they were made."""
    model = models.backbone(arguments.backbone, decoder_width=arguments.decoder_width)
    params = dict(model.params)
    history: dict[str, Any] = {}
    for name in (arguments.init, path if path.exists() else None):
        if name is not None:
            donor = models.load(name)
            if donor.config != model.config:
                raise ValueError(f"{name} is another network: {donor.config}, not {model.config}")
            params |= {key: value for key, value in donor.params.items() if key != "encoder"}
            history |= models.training_history(name)
    return model.replace(params=params, dtype=arguments.config.dtype), history


def origin(before: dict[str, Any] | None, command: str, config: TrainConfig) -> Any:
    """The record of what a decoder's training started from: that of the decoder there was, if it was gone on from."""
    if before is None or config.bridge_steps or config.optimizer == "least-squares":
        return None
    return before.get("before") if before["command"] == command else before


def save(model: models.Model, path: Path, history: dict[str, Any]) -> None:
    """Writes the decoders in float16; the encoder is the backbone's own."""
    models.save(model, path, dtype="float16", encoder=False, metadata={"training": json.dumps(history)})


def train_level(model: models.Model, photographs: data.PhotographFolder, level: int, arguments: Arguments) -> Any:
    """The trained parameters of one level's decoder."""
    config = arguments.config
    batches = data.train_batches(
        photographs, batch=config.batch, crop=config.crop, short_side=config.short_side, seed=config.seed
    )
    if config.optimizer == "least-squares":
        return solve_linear_decoder(model.replace(dtype="float32"), batches, config.steps)
    identity = {name: getattr(arguments, name) for name in ("backbone", "decoder_width", "init")}
    loss = partial(training.reconstruction_loss, level=level, feature_weight=config.feature_weight)
    with Checkpoints(arguments.output / f"level{level}", dataclasses.asdict(config) | identity) as checkpoints:
        params = models.init_decoder(jax.random.key(config.seed), model.config, level)
        if config.bridge_steps and checkpoints.latest_step is None:
            params = cross_bridge(params, model, batches, level, config)
        else:
            donors = [model.params[name] for name in (f"decoder{level}", f"decoder{level - 1}") if name in model.params]
            params = training.warm_start(params, *donors)
        state = checkpoints.restore(training.init_state(params, config), batches)
        steps = training.run(state, model, batches, loss=loss, config=config)
        for number, state in show(steps, state, config, f"level {level}"):  # noqa: B020
            if number % arguments.save_every == 0 or number == config.steps:
                training.check_finite(state, number)
                checkpoints.save(state, batches)
    return jax.tree.map(np.asarray, state.params)


def cross_bridge(decoder: Any, model: models.Model, batches: Any, level: int, config: TrainConfig) -> Any:
    """A decoder to start from: the trained bridge to the next shallower level, joined to the decoder there."""
    model.check_levels((level - 1,))
    config = dataclasses.replace(config, steps=config.bridge_steps)
    state = training.init_state(init_bridge(decoder, model, level, jax.random.key(config.seed)), config)
    steps = training.run(state, model, batches, loss=partial(bridge_loss, level=level), config=config)
    ((_, state),) = deque(show(steps, state, config, f"bridge {level}-{level - 1}"), maxlen=1)
    return join(state.params, model.params[f"decoder{level - 1}"], level)


def show(
    steps: Iterable[Step], state: training.TrainState, config: TrainConfig, name: str
) -> Iterator[tuple[int, training.TrainState]]:
    """Numbers the states, counting on the host, and shows their progress with the running mean of the metrics."""
    begin = int(state.step)
    smooth: dict[str, float] = {}
    with tqdm(total=config.steps, initial=begin, desc=name, mininterval=5) as bar:
        for number, (new_state, metrics) in enumerate(steps, start=begin + 1):
            bar.update()
            if number % 50 == 0:
                smooth = {k: 0.8 * smooth.get(k, float(v)) + 0.2 * float(v) for k, v in metrics.items()}
                bar.set_postfix({k: f"{v:.4g}" for k, v in smooth.items()}, refresh=False)
            yield number, new_state
