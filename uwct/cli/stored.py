"""Programs kept on disk as they were compiled: to trace and to lower them again takes half of a short command's time.

JAX's own cache knows a program by what it was lowered to. Here one is known by its function and the types of its
arguments, and by all else that it may depend on: the sources of uwct, versions, settings, the processor. Where no file
serves (there is none, it was cut short) it is compiled, and kept if that can be: by threads, and together with those
that will be wanted after it, where `expecting` says which.

Contract: for programs of `quick_jit` that stand alone, on one CPU. What lies in the folder is trusted, as in JAX's.
"""

import hashlib
import os
import pickle
import platform
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jaxlib
import numpy as np
from jax.experimental import serialize_executable
from jax.experimental.compilation_cache import compilation_cache
from jax.stages import Compiled, Lowered

from uwct.files import discard, new_beside
from uwct.transforms.linalg import load_lapack
from uwct.transforms.programs import config

SUFFIX = ".program"
PACKAGE = Path(__file__).parents[1]
# What JAX's monitoring is told of every program that is read from the disk.
LOADED = "/uwct/program_loaded"
DIGEST = hashlib.sha256().digest_size
# That compile at once: to lower a program, which one thread can at a time, takes a quarter of the time to compile it.
MOST_THREADS = 4
# Guards the settings of JAX's cache, which are all threads', and counts who needs it off.
_SETTINGS = threading.Lock()
_without = 0


class Program(NamedTuple):
    """A program: the shapes of its results, and what waits for it to be compiled."""

    results: Any
    ready: Callable[[], Compiled]


class Store:
    """The programs in a folder, and those of them that are in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._finding = threading.RLock()  # which a walk takes again
        self._expected = threading.local()
        self._begin()

    def _begin(self) -> None:
        self._programs: dict[Any, Program] = {}
        self._threads = ThreadPoolExecutor(min(MOST_THREADS, _cores() or 1))

    def _give_up(self) -> None:
        """Nobody will want the programs that still wait for a thread."""
        with self._finding:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._begin()

    @contextmanager
    def expecting(self, walk: Callable[[], Any]) -> Iterator[None]:
        """Within it, the first program that is to be compiled has those compiled at once that `walk` calls.

        That is once a thread; what is expected within it takes the place of this.
        """
        self._expected.walk = walk
        try:
            yield
        except (Exception, GeneratorExit):
            raise
        except BaseException:  # a signal
            self._give_up()
            raise
        finally:
            self._expected.walk = None

    def call(self, jitted: Any, arguments: dict[str, Any], static: Sequence[str]) -> Any:
        """`jitted(**arguments)`, of which those named in `static` are static; of shapes it gives shapes."""
        fixed = {name: arguments.pop(name) for name in static if name in arguments}
        leaves, tree = jax.tree.flatten(arguments)
        # Not JAX's types themselves: in 0.12 those of what a stored program gives are like no others.
        types = tuple((each.shape, each.dtype, each.weak_type) for each in map(_type, leaves))
        key = (jitted, tree, types, tuple(fixed.items()), config.jax_enable_x64)
        with self._finding:
            if key not in self._programs:
                path = self._path(jitted, fixed, f"{tree} {types} {config.jax_enable_x64}")
                self._programs[key] = _found(path, arguments) or self._begun(key, path, jitted, arguments, fixed)
            program = self._programs[key]
        if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
            return program.results
        try:
            compiled = program.ready()
        except Exception:  # it may be tried again
            self._programs.pop(key, None)
            raise
        return compiled(**arguments)

    def _path(self, jitted: Any, fixed: dict[str, Any], types: str) -> Path | None:
        """The file of a program; None of one that no name tells apart from others."""
        names = {name: _name(value) for name, value in fixed.items()}
        if None in names.values():
            return None
        identity = f"{jitted.__module__}.{jitted.__qualname__} {names} {types}"
        digest = hashlib.sha256(f"{basis()} {identity}".encode()).hexdigest()
        return self._folder / f"{jitted.__name__}-{digest}{SUFFIX}"

    def _begun(
        self, key: Any, path: Path | None, jitted: Any, arguments: dict[str, Any], fixed: dict[str, Any]
    ) -> Program:
        """A program that a thread compiles; before it, all that are expected, among which it may be."""
        walk, self._expected.walk = getattr(self._expected, "walk", None), None
        if walk:
            walk()
            if key in self._programs:
                return self._programs[key]
        jitted.clear_cache()  # else JAX may give a program that it has in memory, of its cache
        lowered = jitted.lower(**arguments, **fixed)
        return Program(_shapes(lowered.out_info), self._threads.submit(_compile, lowered, path).result)


def _type(leaf: Any) -> Any:
    return leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jax.typeof(leaf)


def _shapes(results: Any) -> Any:
    """Without devices and layouts, which what is called with them would be lowered for."""
    return jax.tree.map(lambda result: jax.ShapeDtypeStruct(result.shape, result.dtype), results)


def _found(path: Path | None, arguments: dict[str, Any]) -> Program | None:
    """The program of a file; None where no file serves."""
    if path:
        with suppress(OSError, ValueError, RuntimeError):
            compiled = _read(path, arguments)
            return Program(_shapes(compiled.out_info), lambda: compiled)
    return None


def _compile(lowered: Lowered, path: Path | None) -> Compiled:
    """The program, kept in a file if it has one, and if that can be."""
    if path is None:
        return lowered.compile()
    with _without_jaxs_cache():
        compiled = lowered.compile()
    try:
        _write(path, compiled)
    except OSError as error:
        _say_that_none_are_kept(path.parent, error.strerror or str(error))
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
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(threads: int) -> None:
    """So many more threads need JAX's cache off."""
    global _without
    with _SETTINGS:
        before, _without = _without, _without + threads
        if bool(before) != bool(_without):
            jax.config.update("jax_enable_compilation_cache", not _without)
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
    return platform.machine(), features, _cores(), os.environ.get("PJRT_NPROC"), os.environ.get("NPROC")


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _name(value: Any) -> str | None:
    """What a static argument is in every process; None of what has no such name, as a function that is not uwct's."""
    if isinstance(value, str | int | float | np.dtype | None):
        return repr(value)
    module, name = str(getattr(value, "__module__", "")), str(getattr(value, "__qualname__", ""))
    known = module.startswith("uwct.") and getattr(sys.modules[module], name, None) is value
    return f"{module}.{name}" if known else None
