"""Training as a process: killed, stopped and resumed, and with others."""

import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import test_training
from PIL import Image

from uwct.cli import train
from uwct.networks.model import load, save
from uwct.training.checkpoints import Checkpoints
from uwct.training.data import Reader, on_device, train_batches
from uwct.training.parallel import Devices
from uwct.training.photographs import PhotographFolder

ROOT = Path(__file__).parent.parent
STEPS = 150


@pytest.fixture
def start(tmp_path, tiny_model, photographs):
    """Starts `python train.py` on level 2 of the tiny model; whatever is still running at the end is killed."""
    save(tiny_model, tmp_path / "tiny.safetensors")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    words = ["--backbone", "tiny.safetensors", "--decoder-width", "0.75", "--data", f"folder:{photographs}"]
    words += ["--levels", "2", "--batch", "4", "--crop", "16", "--recipe", "fast", "--dtype", "float32"]
    words += ["--test", f"folder:{photographs}", "--test-crop", "64", "--save-every", "10"]
    running = []

    def process(*more, script=ROOT / "train.py"):
        command = [sys.executable, str(script), *(words if script.name == "train.py" else ()), *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        running.append(subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes))
        return running[-1]

    yield process
    for one in running:
        one.kill()
        one.wait()


def ends(process):
    """The exit code, and what was printed."""
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def steps_saved(folder):
    return max((int(path.name) for path in folder.glob("level2/*") if path.name.isdigit()), default=0)


def saved_state(folder, step):
    """Every number of a checkpoint, bit for bit."""
    return jax.tree.map(np.asarray, ocp.StandardCheckpointer().restore(folder / "level2" / str(step) / "state"))


def lines(folder):
    """What was recorded, without how fast it was."""
    found = [json.loads(line) for line in (folder / "level2" / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "pictures_per_second"} for line in found]


def test_killed_and_stopped_at_random_it_ends_bit_for_bit_as_if_never_interrupted(start, tmp_path):
    words = ["--steps", str(STEPS), "--output"]
    code, output = ends(start(*words, "whole"))
    assert code == 0, output
    moments = sorted(random.sample(range(10, STEPS - 40), 3))
    print("interrupted after the checkpoints of steps", moments)
    for i, moment in enumerate(moments):
        process = start(*words, "broken")
        while steps_saved(tmp_path / "broken") < moment and process.poll() is None:
            time.sleep(0.005)
        time.sleep(0.1 * random.random())
        process.send_signal(signal.SIGTERM if i == 0 else signal.SIGKILL)
        code, output = ends(process)
        assert code == (0 if i == 0 else -signal.SIGKILL), output
        if i == 0:
            assert "level2: stopped after step" in output
            assert "Traceback" not in output
    code, output = ends(start(*words, "broken"))
    assert code == 0, output
    whole, broken = (saved_state(tmp_path / name, STEPS) for name in ("whole", "broken"))
    assert len(jax.tree.leaves(whole)) > 20
    jax.tree.map(np.testing.assert_array_equal, broken, whole)
    trained = [line for line in lines(tmp_path / "whole") if line["kind"] == "test"]
    assert [line for line in lines(tmp_path / "broken") if line["kind"] == "test"] == trained
    assert (tmp_path / "whole" / "table.md").read_text().splitlines()[2].split("|")[3:] == (
        tmp_path / "broken" / "table.md"
    ).read_text().splitlines()[2].split("|")[3:]


def coordinator():
    """An address on this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def test_two_processes_of_two_devices_give_the_parameters_of_one_device(start, tiny_model, tmp_path):
    where, script = coordinator(), ROOT / "tests" / "worker.py"
    for code, output in [ends(p) for p in [start(where, "2", str(i), str(tmp_path), script=script) for i in range(2)]]:
        assert code == 0, output
    state, metrics = test_training.train(
        test_training.fresh_state(tiny_model, 2), tiny_model, loss=test_training.loss_of(2)
    )[-1]
    found = np.load(tmp_path / "together.npz")
    for i, leaf in enumerate(jax.tree.leaves(state.params)):
        np.testing.assert_allclose(found[str(i)], leaf, atol=1e-5)
    assert float(found["loss"]) == pytest.approx(float(metrics["loss"]), rel=1e-4)
    assert [path.name for path in (tmp_path / "together").iterdir()] == ["10"]


def test_two_processes_with_unequal_shares_take_the_same_steps_and_save_one_checkpoint(start, photographs, tmp_path):
    for i in (1, 3, 5):  # all but one of the second process's share
        (photographs / f"{i}.jpg").write_text("no picture")
    words = ["--coordinator", coordinator(), "--processes", "2", "--steps", "20", "--output", "both"]
    outputs = [ends(process) for process in [start(*words, "--process", str(i)) for i in range(2)]]
    for code, output in outputs:
        assert code == 0, output
    assert "passed over 3 training photographs" in outputs[1][1]
    assert "cannot be read" not in outputs[0][1]
    assert lines(tmp_path / "both")[-1]["step"] == 20
    assert sorted(path.name for path in (tmp_path / "both" / "level2" / "20" / "data").glob("*.json")) == [
        "process_0-of-2.json",
        "process_1-of-2.json",
    ]
    assert load(tmp_path / "both" / "model.safetensors").levels == (2,)


def test_sigterm_to_one_of_two_processes_saves_and_ends_both(start, tmp_path):
    words = ["--coordinator", coordinator(), "--processes", "2", "--steps", "1000000", "--output", "both"]
    processes = [start(*words, "--process", str(i)) for i in range(2)]
    while steps_saved(tmp_path / "both") < 10 and all(process.poll() is None for process in processes):
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)
    outputs = [ends(process) for process in processes]
    for code, output in outputs:
        assert code == 0, output
        stopped = int(re.search(r"level2: stopped after step (\d+) of 1000000", output)[1])
        assert steps_saved(tmp_path / "both") == stopped


def test_what_changed_is_named_when_a_run_is_resumed_otherwise(folder, photographs, capsys):
    words = ["--backbone", "tiny.safetensors", "--decoder-width", "0.75", "--levels", "1", "--output", "run"]
    words += ["--steps", "2", "--batch", "2", "--crop", "16", "--data", f"folder:{photographs}"]
    train.main(words)
    Image.new("RGB", (40, 40)).save(photographs / "new.png")
    with pytest.raises(SystemExit) as end:
        train.main([*words, "--learning-rate", "0.5"])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "learning_rate was 0.0001 and is 0.5" in message
    assert "photographs was 8 pictures, " in message
    assert " and is 9 pictures, " in message


def prolonging(photographs):
    """`train(*words)`, and the sentence that it ends with."""
    words = ["--backbone", "tiny.safetensors", "--decoder-width", "0.75", "--levels", "2", "--data"]
    words += [f"folder:{photographs}", "--batch", "2", "--crop", "16", "--dtype", "float32"]

    def run(*more):
        train.main([*words, *more])
        return load(Path(more[-1], "model.safetensors")).params["decoder2"]

    def refused(capsys, *more):
        with pytest.raises(SystemExit) as end:
            train.main([*words, *more])
        assert end.value.code == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
        return line

    return run, refused


def test_a_finished_training_is_prolonged_as_if_it_had_never_ended(folder, photographs, capsys):
    run, refused = prolonging(photographs)
    run("--steps", "2", "--output", "run")
    longer = run("--steps", "4", "--output", "run")
    jax.tree.map(np.testing.assert_array_equal, longer, run("--steps", "4", "--output", "at once"))
    by_epochs = run("--epochs", "2", "--output", "run")  # 8 photographs, 2 a step
    jax.tree.map(np.testing.assert_array_equal, by_epochs, run("--steps", "8", "--output", "at once"))
    recorded = [json.loads(line)["step"] for line in Path("run/level2/metrics.jsonl").read_text().splitlines()]
    assert recorded == [2, 4, 8]
    line = refused(capsys, "--steps", "3", "--output", "run")
    assert "8 steps are taken already, more than 3; to go on as it began: " in line
    assert line.endswith(" --steps 3 --output run --steps 8")


def test_where_the_learning_rate_falls_the_command_is_named_that_trains_on(folder, photographs, capsys):
    run, refused = prolonging(photographs)
    falling = ["--schedule", "cosine", "--steps"]
    first = run(*falling, "2", "--output", "run")
    line = refused(capsys, *falling, "4", "--output", "run")
    reason, _, command = line.partition("; to train on from its result: ")
    assert reason.endswith("its learning rate falls until the last step, which was 2 and is 4")
    assert command.endswith(" --output run --init run/model.safetensors --output run-2")
    jax.tree.map(np.testing.assert_array_equal, load("run/model.safetensors").params["decoder2"], first)
    train.main(shlex.split(command)[2:])
    assert load("run-2/model.safetensors").levels == (2,)


def test_a_shortened_warm_up_is_not_prolonged(folder, photographs, capsys):
    """Two steps of warm-up were all that there was room for."""
    run, refused = prolonging(photographs)
    run("--warmup", "3", "--steps", "2", "--output", "run")
    assert "; to train on from its result: " in refused(capsys, "--warmup", "3", "--steps", "4", "--output", "run")


def test_the_best_and_the_last_two_checkpoints_are_kept(tmp_path, tiny_model, photographs):
    devices = Devices.all()
    batches = on_device(train_batches(Reader(PhotographFolder(photographs)), batch=4, crop=16), devices.split)
    state = test_training.fresh_state(tiny_model, 1)
    losses = {1: 5.0, 2: 3.0, 3: 4.0, 4: 6.0, 5: 7.0}
    with Checkpoints(tmp_path / "run", {"seed": 0}) as checkpoints:
        for step, loss in losses.items():
            bias = state.params["conv1_1"]["bias"] + step
            params = {"conv1_1": {**state.params["conv1_1"], "bias": bias}}
            checkpoints.save(state.replace(step=state.step + step, params=params), batches, {"loss": loss})
        best = checkpoints.best(state.replace(step=state.step + 5))
    assert int(best.step) == 2
    np.testing.assert_array_equal(best.params["conv1_1"]["bias"], state.params["conv1_1"]["bias"] + 2)
    assert sorted(int(p.name) for p in (tmp_path / "run").iterdir() if p.name.isdigit()) == [2, 4, 5]


def test_the_best_checkpoint_is_the_sharpest_where_the_test_knows(tmp_path, tiny_model, photographs):
    devices = Devices.all()
    batches = on_device(train_batches(Reader(PhotographFolder(photographs)), batch=4, crop=16), devices.split)
    state = test_training.fresh_state(tiny_model, 1)
    with Checkpoints(tmp_path / "run", {"seed": 0}) as checkpoints:
        for step, (loss, lpips) in enumerate([(5.0, 0.2), (4.0, 0.1), (3.0, 0.3)], 1):
            checkpoints.save(state.replace(step=state.step + step), batches, {"loss": loss, "lpips": lpips})
        assert int(checkpoints.best(state.replace(step=state.step + 3)).step) == 2
