"""How commands start quickly and run for long: what they keep of compiled programs, and of Python's objects."""

import atexit
import functools
import gc
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import platformdirs

from uwct.cli.stored import LOADED, SUFFIX, Store, basis
from uwct.transforms.programs import keep_by

# Each program keeps memory, and mappings of memory, of which Linux gives a process 65,530.
MOST_PROGRAMS = 5000
# Compiling takes a fifth less time when LLVM does not unroll loops; what is compiled is no slower.
QUICKER = "--xla_backend_extra_options=xla_cpu_disable_loop_unrolling"
# Of compiled programs on disk: a bucket of sizes adds some 30 files, 2 MB, a size a few hundred of JAX's with --refine.
MOST_BYTES = 256 * 2**20
_in_memory = 0


@functools.cache
def count_programs() -> None:
    """From now on, programs are counted when they are compiled, or read from the disk."""

    def count(event: str, *_: Any, **__: Any) -> None:
        global _in_memory
        _in_memory += event in ("/jax/core/compile/backend_compile_duration", LOADED)

    jax.monitoring.register_event_duration_secs_listener(count)
    jax.monitoring.register_event_listener(count)


def make_room() -> None:
    """Forgets all compiled programs where they are too many; to be called before a picture."""
    global _in_memory
    if _in_memory > MOST_PROGRAMS:
        jax.clear_caches()
        store_in.cache_clear()
        trim()
        _in_memory = 0


def folder() -> Path | None:
    """Where compiled programs are kept; None where JAX_COMPILATION_CACHE_DIR names a place, which is the user's."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    return Path(platformdirs.user_cache_dir("uwct", appauthor=False))


def trim() -> None:
    """Deletes the compiled programs that were used longest ago, until MOST_BYTES are left; never fails.

    JAX's own bound, jax_compilation_cache_max_size, keeps nothing more for good once a program lies there without a
    record of its use, as after a SIGKILL, and needs locks, which not every home directory has.
    """
    programs: list[tuple[float, int, Path]] = []
    place = folder()
    with suppress(OSError):  # there is no folder, or it may not be read
        for program in [*place.glob("*-cache"), *place.glob(f"*{SUFFIX}")] if place else ():
            with suppress(OSError):  # another process has deleted it
                status = program.stat()
                # When it was read, where the file system notes that, else when it was written.
                programs.append((max(status.st_atime, status.st_mtime), status.st_size, program))
    room = MOST_BYTES
    for _, size, program in sorted(programs, reverse=True):
        room -= size
        if room < 0:
            with suppress(OSError):
                program.unlink()


@functools.cache
def trim_at_exit() -> None:
    """Once, however many commands a process runs."""
    atexit.register(trim)


@functools.cache
def spare_the_collector() -> None:
    """Takes what is imported from the garbage collector, and all that is left at the end: to look through it took a
    sixth of a short command's time. Once, since what later commands leave is garbage."""
    gc.freeze()
    atexit.register(gc.freeze)


def start_quickly() -> None:
    """To be called before JAX computes anything, since then it reads how to compile: quickly.

    The user's XLA_FLAGS come last. Most programs are kept whole (see stored.py).
    """
    os.environ["XLA_FLAGS"] = f"{QUICKER} {os.environ.get('XLA_FLAGS', '')}"
    jax.config.update("jax_traceback_in_locations_limit", 0)  # programs that do not know which line they are of
    keep_programs()
    config: Any = jax.config  # whose flags type checkers do not see
    place = config.jax_compilation_cache_dir
    local = place and "://" not in place  # JAX may keep its own on a server
    searched = config.jax_debug_nans or config.jax_debug_infs  # for which JAX must know what a program is of
    if config.jax_enable_compilation_cache and local and not searched:
        basis()  # the sources as they are now, which an update may replace while `uwct web` waits for a picture
        keep_by(lambda: store_in(place))


@functools.cache
def store_in(place: str) -> Store:
    """The programs in a folder, with those that are in memory."""
    return Store(Path(place))


def keep_programs() -> None:
    """To be called before JAX computes anything: what it compiles is that of any other program.

    Keeps compiled programs in the user's cache directory, so that a size seen before starts at once, and trims it at
    the end, unless JAX_COMPILATION_CACHE_DIR names another.
    """
    if place := folder():
        jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    count_programs()
    spare_the_collector()
    trim_at_exit()
