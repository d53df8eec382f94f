"""Programs kept on disk as they were compiled: to trace and to lower them again takes half of a short command's time.

JAX's own cache knows a program by what it was lowered to. Here one is known by its function and the types of its
arguments, and by all else that it may depend on: the sources of uwct, versions, settings, the processor. Where no file
serves (there is none, it was cut short) it is compiled, and kept if that can be.

Contract: for programs of `quick_jit` that stand alone, on one CPU. What lies in the folder is trusted, as in JAX's.
"""

import hashlib
import os
import pickle
import platform
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import flax
import jax
import jaxlib
import numpy as np
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache
from jax.stages import Compiled

from uwct.files import discard, new_beside
from uwct.transforms.linalg import load_lapack
from uwct.transforms.programs import config

SUFFIX = ".program"
PACKAGE = Path(__file__).parents[1]
# What JAX's monitoring is told of every program that is read from the disk.
LOADED = "/uwct/program_loaded"
DIGEST = hashlib.sha256().digest_size
# One thread at a time, since the settings of JAX's cache are all threads'.
_COMPILING = threading.Lock()


class Store:
    """The programs in a folder, and those of them that are in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[Any, Compiled] = {}

    def call(self, jitted: Any, arguments: dict[str, Any], static: Sequence[str]) -> Any:
        """`jitted(**arguments)`, of which those named in `static` are static."""
        fixed = {name: arguments.pop(name) for name in static if name in arguments}
        leaves, tree = jax.tree.flatten(arguments)
        # Not JAX's types themselves: in 0.12 those of what a stored program gives are like no others.
        types = tuple((each.shape, each.dtype, each.weak_type) for each in map(jax.typeof, leaves))
        key = (jitted, tree, types, tuple(fixed.items()), config.jax_enable_x64)
        if key not in self._loaded:
            self._loaded[key] = self._program(jitted, arguments, fixed, f"{tree} {types} {config.jax_enable_x64}")
        return self._loaded[key](**arguments)

    def _program(self, jitted: Any, arguments: dict[str, Any], fixed: dict[str, Any], types: str) -> Compiled:
        names = {name: _name(value) for name, value in fixed.items()}
        if None in names.values():
            return jitted.lower(**arguments, **fixed).compile()
        identity = f"{jitted.__module__}.{jitted.__qualname__} {names} {types}"
        digest = hashlib.sha256(f"{basis()} {identity}".encode()).hexdigest()
        path = self._folder / f"{jitted.__name__}-{digest}{SUFFIX}"
        with suppress(OSError, ValueError, RuntimeError):
            return _read(path, arguments)
        with _without_jaxs_cache():
            jitted.clear_cache()  # else JAX may give a program that it has in memory, of its cache
            compiled = jitted.lower(**arguments, **fixed).compile()
        try:
            _write(path, compiled)
        except OSError as error:
            _say_that_none_are_kept(self._folder, error.strerror or str(error))
        except (ValueError, RuntimeError):
            pass  # of one that JAX cannot serialize
        return compiled


def _read(path: Path, arguments: dict[str, Any]) -> Compiled:
    """The program of a file; raises OSError or ValueError where there is none, RuntimeError where XLA takes it not."""
    content = path.read_bytes()
    checksum, data = content[:DIGEST], content[DIGEST:]
    if hashlib.sha256(data).digest() != checksum:
        raise ValueError(f"{path} is not whole")
    _prepare()
    serialized, result = pickle.loads(data)
    given, found = jax.tree.structure(((), arguments)), jax.tree.structure(result)
    devices = jax.local_devices()[:1]
    program = serialize_executable.deserialize_and_load(serialized, given, found, execution_devices=devices)
    jax.monitoring.record_event(LOADED)
    return program


def _write(path: Path, compiled: Compiled) -> None:
    """Keeps a program; raises OSError where that cannot be, ValueError or RuntimeError where JAX cannot serialize it.

    Nobody waits for the disk: of what a crash of the computer cuts short, the checksum tells.
    """
    serialized, _, tree = serialize_executable.serialize(compiled)
    data = pickle.dumps((serialized, jax.tree.unflatten(tree, [0] * tree.num_leaves)))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = new_beside(path)
    try:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)
        os.replace(temporary, path)
    finally:
        discard(temporary)


@cache
def _say_that_none_are_kept(folder: Path, reason: str) -> None:
    """Once: a folder that cannot be written is no reason to fail, but every start will be slow."""
    print(f"what was compiled cannot be kept for the next start: {folder}: {reason}", file=sys.stderr)


@contextmanager
def _without_jaxs_cache() -> Iterator[None]:
    """Within it JAX compiles: what its cache gives can be written again, but what is read then crashes (0.10.2)."""
    with _COMPILING:
        jax.config.update("jax_enable_compilation_cache", False)
        compilation_cache.reset_cache()
        try:
            yield
        finally:
            jax.config.update("jax_enable_compilation_cache", True)
            compilation_cache.reset_cache()


@cache
def _prepare() -> None:
    """Loads what JAX loads when it lowers a decomposition, and programs without it crash: LAPACK's functions."""
    load_lapack()
    jax.jit(jax.lax.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), "float32"))


@cache
def basis() -> str:
    """What all programs depend on: sources, versions, settings, and the processor, since folders may be shared."""
    sources = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        sources.update(path.read_bytes())
    versions = [module.__version__ for module in (jax, jaxlib, flax)]
    settings = sorted((k, v) for k, v in os.environ.items() if k.startswith(("JAX_", "XLA_")))
    return repr((sources.hexdigest(), versions, platform.python_version(), settings, _processor()))


def _processor() -> tuple[Any, ...]:
    """What code is compiled for, as far as the system says: on Linux all features of the first core.

    And for how many threads: XLA has as many as there are cores for this process, or as two variables say.
    """
    features = os.environ.get("PROCESSOR_IDENTIFIER", "")  # Windows'
    with suppress(OSError):
        first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
        features = " ".join(line for line in first.splitlines() if line.startswith(("model name", "flags", "Features")))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return platform.machine(), features, cores, os.environ.get("PJRT_NPROC"), os.environ.get("NPROC")


def _name(value: Any) -> str | None:
    """What a static argument is in every process; None of what has no such name, as a function that is not uwct's."""
    if isinstance(value, str | int | float | np.dtype | None):
        return repr(value)
    module, name = str(getattr(value, "__module__", "")), str(getattr(value, "__qualname__", ""))
    known = module.startswith("uwct.") and getattr(sys.modules[module], name, None) is value
    return f"{module}.{name}" if known else None
