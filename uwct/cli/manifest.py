"""The manifest of a run over folders: what was made, of which files, and how; by it a run that broke off goes on.

It is a file of JSON lines in the folder of outputs, a line a finished picture: its name and SHA-256, those of the files
that it was made of, the options, and the versions of what computed it.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from uwct.cli.dtypes import dtype_for
from uwct.cli.plan import Job
from uwct.files import append_line, read_lines
from uwct.networks import model as models
from uwct.pictures import images

NAME = "manifest.jsonl"
# What changes nothing in a picture, or is recorded by its files.
_GROUPS = ("look", "styles", "regions", "networks")
_LEFT_OUT = (*_GROUPS, "content", "source", "style", "output", "json", "resume", "max_megapixels")


class Manifest:
    """What is finished in a folder, and what is being added to it."""

    def __init__(self, folder: Path, how: dict[str, Any]) -> None:
        """`how` is what pictures must share, beside their inputs, to be the same; as JSON can hold it."""
        self._path, self._how = folder / NAME, json.loads(json.dumps(how, default=str))
        self._lines = {line.get("output"): line for line in read_lines(self._path)}
        self._known: dict[Path, str] = {}

    def finished(self, job: Job) -> bool:
        """Whether a picture lies there as it was made of these inputs in this way."""
        line = self._lines.get(job.output.name)
        return line is not None and job.output.is_file() and line == self._record(job)

    def add(self, job: Job) -> None:
        """Writes down that a picture is finished."""
        append_line(self._path, self._record(job))

    def _record(self, job: Job) -> dict[str, Any]:
        return {
            "output": job.output.name,
            "sha256": sha256(job.output),
            "content": self._file(job.content) if job.content else None,
            "styles": [self._file(path) for path in job.styles],
            **self._how,
        }

    def _file(self, path: Path) -> dict[str, str]:
        if path not in self._known:
            self._known[path] = sha256(path)
        return {"file": path.name, "sha256": self._known[path]}


def how(arguments: Any, others: Iterable[Path]) -> dict[str, Any]:
    """What is recorded of a run: the options, those that commands share among them, and the files read beside pictures.

    `arguments` are those of a command that stylizes, with its Look and Networks; `others` are the further files.
    """
    options = dataclasses.asdict(arguments)
    for group in ("styles", "regions", "networks"):
        options |= options.get(group, {})
    options = {name: value for name, value in options.items() if name not in _LEFT_OUT}
    options |= dataclasses.asdict(arguments.look.resolve()) | {"photo": arguments.look.photo}
    options |= {"dtype": dtype_for(arguments.networks.dtype)}
    read = (models.find_file(arguments.networks.model), *others)
    files = [{"file": path.name, "sha256": sha256(path)} for path in read]  # two of one name are two
    return {"options": options, "files": files, "versions": versions()}


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    found = {"python": platform.python_version()}
    for name in ("uwct", "jax", "jaxlib", "numpy", "pillow"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # uwct run from its source
            found[name] = "unknown"
    return found


def sha256(path: Path) -> str:
    """Of a file, or of standard input."""
    if path == images.STANDARD:
        return hashlib.sha256(images.standard_input()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
