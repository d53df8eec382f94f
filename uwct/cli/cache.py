"""JAX's persistent compilation cache, so that a picture size seen before starts at once."""

import os

import jax
import platformdirs


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache directory, unless JAX_COMPILATION_CACHE_DIR names another."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("uwct", appauthor=False))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
