"""How commands start quickly and run for long: what they keep of compiled programs, and of Python's objects."""

import atexit
import gc
import os
from contextlib import suppress
from pathlib import Path

import jax
import platformdirs

# Each program keeps memory, and mappings of memory, of which Linux gives a process 65,530.
MOST_SHAPES = 64
# Compiling takes a fifth less time when LLVM does not unroll loops; what is compiled is no slower.
QUICKER = "--xla_backend_extra_options=xla_cpu_disable_loop_unrolling"
# Of compiled programs on disk: a size of picture adds some 40 files of 10 kB, or a few hundred with --refine.
MOST_BYTES = 256 * 2**20
_shapes: set[tuple[int, int]] = set()


def make_room(shape: tuple[int, int]) -> None:
    """Forgets all compiled programs when pictures of too many shapes have come by; `shape` is that of the next one."""
    if shape not in _shapes and len(_shapes) == MOST_SHAPES:
        jax.clear_caches()
        trim()
        _shapes.clear()
    _shapes.add(shape)


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
        for program in place.glob("*-cache") if place else ():
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


def start_quickly() -> None:
    """To be called before JAX computes anything, since then it reads how to compile.

    Keeps compiled programs in the user's cache directory, so that a size seen before starts at once, and trims it at
    the end, unless JAX_COMPILATION_CACHE_DIR names another; the user's XLA_FLAGS come last. Takes what is imported from
    the garbage collector, and all that is left at the end: to look through it took a sixth of a short command's time.
    """
    os.environ["XLA_FLAGS"] = f"{QUICKER} {os.environ.get('XLA_FLAGS', '')}"
    if place := folder():
        jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if not gc.get_freeze_count():
        gc.freeze()
        atexit.register(gc.freeze)
        atexit.register(trim)
