"""`python train.py`, also installed as `uwct train`; what it can be asked for lies in `tasks`."""

import itertools
import shlex
import sys

from uwct.cli.errors import one_sentence
from uwct.cli.tasks.arguments import Arguments, parse
from uwct.cli.tasks.autoencoders import Autoencoders
from uwct.cli.tasks.decoders import Decoders
from uwct.cli.tasks.distill import Distill
from uwct.cli.tasks.painters import Painters
from uwct.cli.tasks.trial import evaluate_model
from uwct.training import parallel
from uwct.training.checkpoints import OtherEndError
from uwct.training.loop import Stop, Stopped, stop_at_sigterm

TASKS: dict[str, type[Decoders | Autoencoders | Distill | Painters]] = {
    "decoders": Decoders,
    "autoencoders": Autoencoders,
    "distill": Distill,
    "painters": Painters,
}


def main(argv: list[str] | None = None, prog: str = "train.py") -> None:
    """Trains, as the help says."""
    words = sys.argv[1:] if argv is None else argv
    with one_sentence():
        arguments = parse(words, prog)
        arguments.check()
        parallel.initialize(arguments.coordinator, arguments.processes, arguments.process, cluster=arguments.cluster)
        with stop_at_sigterm() as stop:
            try:
                perform(arguments, stop, shlex.join(["python", "train.py", *words]))
            except Stopped as stopped:
                print(stopped, flush=True)


def perform(arguments: Arguments, stop: Stop, command: str) -> None:
    """Does what the arguments ask for; raises loop.Stopped when `stop` ends it early."""
    if arguments.evaluate:
        evaluate_model(arguments, stop)
        return
    task = TASKS[arguments.task](arguments, stop, command)
    try:
        task.train()
    except OtherEndError as error:
        raise ValueError(f"{error}; {other_way(error, arguments, command)}") from None
    task.name_faults()


def other_way(error: OtherEndError, arguments: Arguments, command: str) -> str:
    """What does what was asked for, or goes on as it began, where a run cannot end at another step."""
    folder = arguments.folder
    fresh = next(path for i in itertools.count(2) if not (path := folder.with_name(f"{folder.name}-{i}")).exists())
    if arguments.task == "distill":
        return f"to begin anew: {command} --output {shlex.quote(str(fresh))}"
    if not error.finished:
        return f"to go on as it began: {command} --steps {error.steps}"
    words = ["--init", str(folder / "model.safetensors"), "--output", str(fresh)]
    words += ["--bridge-steps", "0"] if arguments.config.bridge_steps else []
    return f"to train on from its result: {command} {shlex.join(words)}"
