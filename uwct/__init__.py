"""Universal style transfer by whitening and coloring transforms (Li et al., NIPS 2017), as pure functions in JAX."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uwct.api import *  # noqa: F403
    from uwct.api import __all__ as __all__
else:

    def __getattr__(name):
        """A name of `uwct.api`, imported when it is first asked for: so `uwct --help` does not wait for JAX."""
        api = importlib.import_module("uwct.api")
        if name in ("__all__", *api.__all__):
            return getattr(api, name)
        raise AttributeError(f"module 'uwct' has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *importlib.import_module("uwct.api").__all__})
