"""How commands start quickly and run for long: what they keep of compiled programs, and of Python's objects."""

import atexit
import gc
import os

import jax
import platformdirs

# Each program keeps memory, and mappings of memory, of which Linux gives a process 65,530.
MOST_SHAPES = 64
# Compiling takes a fifth less time when LLVM does not unroll loops; what is compiled is no slower.
QUICKER = "--xla_backend_extra_options=xla_cpu_disable_loop_unrolling"
_shapes: set[tuple[int, int]] = set()


def make_room(shape: tuple[int, int]) -> None:
    """Forgets all compiled programs when pictures of too many shapes have come by; `shape` is that of the next one."""
    if shape not in _shapes and len(_shapes) == MOST_SHAPES:
        jax.clear_caches()
        _shapes.clear()
    _shapes.add(shape)


def start_quickly() -> None:
    """To be called before JAX computes anything, since then it reads how to compile.

    Keeps compiled programs in the user's cache directory, so that a size seen before starts at once, unless
    JAX_COMPILATION_CACHE_DIR names another; the user's XLA_FLAGS come last. Takes what is imported from the garbage
    collector, and all that is left at the end: to look through it took a sixth of a short command's time.
    """
    os.environ["XLA_FLAGS"] = f"{QUICKER} {os.environ.get('XLA_FLAGS', '')}"
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("uwct", appauthor=False))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if not gc.get_freeze_count():
        gc.freeze()
        atexit.register(gc.freeze)
