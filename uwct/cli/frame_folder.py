"""Folders of stylized frames, and how a run that broke off goes on in them.

Beside the frames lie their manifest and, in a hidden file, what the next frame needs of all those before.
"""

import dataclasses
import hashlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from uwct.cli.errors import FAULTS, sentence
from uwct.cli.frame_painter import Painter, State
from uwct.cli.manifest import Manifest, how
from uwct.cli.plan import Job
from uwct.cli.sizes import read
from uwct.cli.video_options import Arguments
from uwct.files import write_bytes
from uwct.pictures import images

STATE, DONE, NAMES = ".frames.safetensors", "done", "names"


class Numbered(NamedTuple):
    """The `number`th frame, from 1: what makes it of what, and what its file said beside its colors."""

    number: int
    job: Job
    picture: images.Picture


class FrameFolder:
    """A folder that frames are written into, made if need be."""

    def __init__(self, arguments: Arguments, painter: Painter) -> None:
        """Raises OSError for a folder that cannot be written to."""
        folder = arguments.output
        folder.mkdir(parents=True, exist_ok=True)
        images.check_folder(folder)
        self._painter, self._state = painter, folder / STATE
        self._manifest = Manifest(folder, how(arguments, arguments.others))
        self._names = hashlib.sha256()  # of all frames so far, since one more or less changes those that follow
        if not arguments.resume:
            self._state.unlink(missing_ok=True)

    def finished(self, jobs: Iterable[Job], faults: list[str] | None) -> tuple[int, State]:
        """How many of the first frames are finished, and the state after them; 0 if any was made in another way.

        Frames that cannot be read still are passed over, and go to `faults`; None stands for those of a clip.
        """
        done, names, state = self._load()
        found, seen = [], hashlib.sha256()
        for job in islice(jobs, done):
            if self._manifest.finished(job):
                seen.update(line(job))
                continue
            fault = "" if faults is None else unreadable(job.content)
            if not fault:
                return 0, State()
            found.append(fault)
        if seen.digest() != names:
            return 0, State()
        self._names = seen
        if faults is not None:
            faults.extend(found)
        return done, state

    def write(self, pixels: np.ndarray, frame: Numbered, state: State | None) -> None:
        """Writes a stylized frame; with a state, a run can go on after it."""
        picture = dataclasses.replace(frame.picture, rgb=pixels[..., :3])
        images.write(frame.job.output, picture)
        self._manifest.add(frame.job)
        self._names.update(line(frame.job))
        if state is not None:
            arrays = {f"{i:06}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
            arrays |= {DONE: np.array([frame.number]), NAMES: np.frombuffer(self._names.digest(), np.uint8)}
            write_bytes(self._state, safetensors.numpy.save(arrays))

    def _load(self) -> tuple[int, bytes, State]:
        """What the hidden file says: how many frames are done, which, and the state after them; none without a file."""
        try:
            arrays = safetensors.numpy.load(self._state.read_bytes())
            (done,), names = arrays.pop(DONE), arrays.pop(NAMES).tobytes()
            return int(done), names, self._painter.state_of([arrays[name] for name in sorted(arrays)])
        except (OSError, SafetensorError, ValueError, KeyError):
            return 0, b"", State()


def line(job: Job) -> bytes:
    """The name of a frame, as it is counted."""
    return f"{job.output.name}\n".encode(errors="surrogateescape")


def unreadable(path: Path | None) -> str:
    """What is wrong with a picture; nothing if it can be read."""
    assert path is not None
    try:
        read(path)
    except FAULTS as fault:
        return sentence(fault)
    return ""
