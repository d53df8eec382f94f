"""How every command ends on bad input: one sentence on stderr, exit code 2, no traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import jax
from safetensors import SafetensorError


def fail(sentence: str) -> NoReturn:
    """One line on stderr, exit code 2."""
    print("error: " + " ".join(sentence.split()), file=sys.stderr)
    sys.exit(2)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns the library's errors about what it was given into one line on stderr and exit code 2."""
    try:
        yield
    except MemoryError:
        fail("there is not enough memory; try a smaller size")
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        fail("the device has not enough memory; try a smaller size")
    except (ValueError, OSError, FloatingPointError, SafetensorError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
