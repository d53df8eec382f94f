"""What one sees of a training run: a progress bar, JSON lines and TensorBoard events.

Contract: one `metrics.jsonl` a folder, a line for every 50 steps (the mean of their metrics) and one for every test.
A resumed run drops the lines beyond the step that it goes on from, so that the file reads as if it had never stopped.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from uwct.files import read_lines, write_bytes
from uwct.training.stepping import Metrics

EVERY = 50  # steps a line
FILE = "metrics.jsonl"


class Recorder:
    """Records one run in a folder from a step on; `quiet` records nothing, for all processes but the first."""

    def __init__(self, folder: Path, name: str, *, start: int, steps: int, batch: int, quiet: bool = False) -> None:
        self._batch, self._quiet, self._steps = batch, quiet, steps
        self._pending: list[Metrics] = []
        self._clock = time.perf_counter()
        self._bar = tqdm(total=steps, initial=start, desc=name, unit="step", mininterval=2, disable=quiet)
        if quiet:
            return
        folder.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_lines(folder / FILE) if line["step"] <= start]
        write_bytes(folder / FILE, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = (folder / FILE).open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def step(self, number: int, metrics: Metrics) -> None:
        """Records the metrics of a step, which may still be on their way from the device."""
        self._bar.update()
        if self._quiet:
            return
        self._pending.append(metrics)
        if number % EVERY == 0 or number == self._steps:
            now = time.perf_counter()
            speed = self._batch * len(self._pending) / (now - self._clock)
            values = {name: float(np.mean(v)) for name, v in _columns(jax.device_get(self._pending)).items()}
            values["skipped"] = int(self._pending[-1]["skipped"])
            self._pending, self._clock = [], now
            self._bar.set_postfix(_postfix(values, speed), refresh=False)
            self._line(number, {**values, "pictures_per_second": round(speed, 2)}, "train")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The time spent within it does not count as training."""
        begin = time.perf_counter()
        yield
        self._clock += time.perf_counter() - begin

    def test(self, number: int, metrics: dict[str, float]) -> None:
        """Records the metrics of a test after a step."""
        if not self._quiet:
            self._line(number, metrics, "test")

    def close(self) -> None:
        """Ends the bar and the files."""
        self._bar.close()
        if not self._quiet:
            self._file.close()
            self._board.close()

    def _line(self, number: int, values: dict[str, float], kind: str) -> None:
        self._file.write(json.dumps({"step": number, "kind": kind, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, number)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def last_line(folder: Path, kind: str) -> dict[str, Any]:
    """The last line of a kind ("train" or "test") that was recorded in a folder; empty when there is none."""
    return next((line for line in reversed(read_lines(folder / FILE)) if line["kind"] == kind), {})


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _postfix(values: dict[str, float], speed: float) -> dict[str, str]:
    shown: dict[str, str] = {name: f"{values[name]:.4g}" for name in ("loss", "psnr") if name in values}
    if values["skipped"]:
        shown["skipped"] = f"{values['skipped']:g}"
    return {**shown, "pictures/s": f"{speed:.1f}"}
