"""Ctrl-C while a command starts: it ends at once, since there is nothing yet to clean up.

A KeyboardInterrupt would be a traceback from the midst of imports, or be lost: where it comes in a callback, of the
garbage collector or of a module's lock, Python goes on.
"""

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

# The exit codes after a SIGINT and a SIGTERM.
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
# Seconds until a signal comes again that came while garbage was collected.
LATER = 0.01


def end(*_: object) -> None:
    """Ends the process as `errors.one_sentence` does."""
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Within it SIGINT ends the process, unless it is ignored; to be entered before what takes time is imported.

    So does a second one while Python, interrupted, waits for its threads: they must not be left behind. After these and
    Python's exit functions the process is over: libraries' own would take from JAX's threads what they compute with.
    """
    codes: list[int] = []
    leave = partial(_leave, codes)
    if "jax" not in sys.modules:  # this process is the command's, and what is registered first comes last
        atexit.register(leave)
    try:
        with _handled(signal.default_int_handler, end):
            yield
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, end)
        if leaving.code in (INTERRUPTED, TERMINATED):
            codes.append(leaving.code)
        raise
    finally:
        if not codes:
            atexit.unregister(leave)


def _leave(codes: list[int]) -> None:
    """Ends the process with the first code."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it is closed
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(codes[0])


def raising() -> AbstractContextManager[None]:
    """Within it, inside `ending_at_once`, SIGINT raises KeyboardInterrupt again: there is something to clean up."""
    return _handled(end, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Python's own handler of SIGINT, whose exception is not lost while garbage is collected."""
    if not deferred(number, frame):
        raise KeyboardInterrupt


def deferred(number: int, frame: FrameType | None) -> bool:
    """Whether a signal came in a callback of the garbage collector, which loses exceptions; it then comes again."""
    codes = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    collecting = frame is not None and frame.f_code in codes
    if collecting:
        threading.Timer(LATER, _send, (number,)).start()
    return collecting


def _send(number: int) -> None:
    """A signal to the main thread, which it wakes; on Windows to the process."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)


@contextmanager
def _handled(before: Callable[..., Any], now: Callable[..., Any]) -> Iterator[None]:
    """Within it SIGINT is handled by `now` where `before` did."""
    main = threading.current_thread() is threading.main_thread()  # others may not
    changes = main and signal.getsignal(signal.SIGINT) is before
    if changes:
        signal.signal(signal.SIGINT, now)
    try:
        yield
    finally:
        if changes:
            signal.signal(signal.SIGINT, before)
