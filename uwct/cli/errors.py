"""How every command ends on bad input: one sentence on stderr, exit code 2, no traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import jax
from safetensors import SafetensorError

# What the library raises about what it was given, and what a computer too small for it does.
FAULTS = (
    ValueError,
    OSError,
    ImportError,
    FloatingPointError,
    SafetensorError,
    MemoryError,
    jax.errors.JaxRuntimeError,
)


def sentence(fault: BaseException) -> str:
    """One line that says what is wrong; raises the fault again when it is none of the input's."""
    if isinstance(fault, MemoryError):
        return "there is not enough memory; try a smaller size"
    if isinstance(fault, jax.errors.JaxRuntimeError):
        if "RESOURCE_EXHAUSTED" not in str(fault):
            raise fault
        return "the device has not enough memory; try a smaller size"
    return " ".join(str(fault).split())


def fail(text: str) -> NoReturn:
    """One line on stderr, exit code 2."""
    print(f"error: {text}", file=sys.stderr)
    sys.exit(2)


def fail_partly(faults: list[str]) -> None:
    """What could not be done of several things, a line each on stderr, exit code 1; nothing if all was done."""
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if faults:
        sys.exit(1)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns the library's errors about what it was given into one line on stderr and exit code 2."""
    try:
        yield
    except FAULTS as fault:
        fail(sentence(fault))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
