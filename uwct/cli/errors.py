"""How every command ends on bad input: one sentence on stderr, exit code 2, no traceback."""

import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from safetensors import SafetensorError

from uwct.cli.starting import INTERRUPTED, TERMINATED, deferred, raising
from uwct.pictures import bounds

# What the library raises about what it was given, and what a computer too small for it does.
# JAX's JaxRuntimeError is a RuntimeError, others of which `sentence` raises again.
FAULTS = (ValueError, OSError, ImportError, FloatingPointError, SafetensorError, MemoryError, RuntimeError)

LONGEST = 8000  # characters of a sentence


class Terminated(BaseException):
    """SIGTERM came."""


def sentence(fault: BaseException) -> str:
    """One line that says what is wrong; raises the fault again when it is none of the input's."""
    if isinstance(fault, MemoryError):
        return "there is not enough memory; try a smaller size"
    if isinstance(fault, RuntimeError):
        if type(fault).__name__ != "JaxRuntimeError" or "RESOURCE_EXHAUSTED" not in str(fault):
            raise fault
        return "the device has not enough memory; try a smaller size"
    if isinstance(fault, bounds.TooManyPixelsError):
        return f"{printable(str(fault))}; --max-megapixels raises it"
    if isinstance(fault, OSError) and fault.filename is not None and fault.strerror:
        return printable(f"{fault.filename}: {fault.strerror}")
    return printable(str(fault))


def printable(text: str) -> str:
    """On one line, with what a terminal would obey, or cannot show, spelt out: names in files are a stranger's."""
    line = " ".join(text.split())
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]} ... and {len(line) - LONGEST} characters more"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


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


def end_unread() -> NoReturn:
    """Ends where nobody reads on, as behind `| head`: silently, exit code 1."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns the library's errors about what it was given into one line on stderr and exit code 2.

    SIGINT and SIGTERM end the command as errors do, so that its temporary files are deleted.
    """
    with _signals(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of what it passes over in a picture's metadata
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
        try:
            yield
        except BrokenPipeError:
            end_unread()
        except FAULTS as fault:
            fail(sentence(fault))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(INTERRUPTED)
        except Terminated:
            print("terminated", file=sys.stderr)
            sys.exit(TERMINATED)


@contextmanager
def _signals() -> Iterator[None]:
    """Within it SIGTERM raises Terminated, once, and SIGINT KeyboardInterrupt, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if not deferred(signum, frame):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # until what it interrupted is cleaned up
            raise Terminated

    before = signal.signal(signal.SIGTERM, handle)
    try:
        with raising():
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
