"""The cores of one computer, divided between processes that paint on it side by side.

A network's products are spread over all cores that a process has. Of several processes that all do that, each waits for
threads that another keeps from running; on cores of their own they paint a third more pictures.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import platformdirs

_held = ExitStack()  # until this process ends


@cache  # one try a process: later, threads run where they run
def take_share(workers: int) -> None:
    """As `share`, until this process ends."""
    _take(workers, _held)


@contextmanager
def share(workers: int) -> Iterator[None]:
    """Keeps this process to one of `workers` parts of its cores that no other has taken; before JAX starts its threads.

    Nothing changes where the system cannot do that (it is Linux that can), where there are fewer cores than workers, or
    where others have taken them all.
    """
    with ExitStack() as held:
        _take(workers, held)
        yield


def _take(workers: int, held: ExitStack) -> None:
    if workers == 1 or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    parts = [cores[part::workers] for part in range(workers)] if len(cores) >= workers else []
    if taken := next((part for part in parts if _taken(part, held)), None):
        held.callback(_keep_to, cores)
        _keep_to(taken)


def _keep_to(cores: list[int]) -> None:
    for thread in os.listdir("/proc/self/task"):  # NumPy's may have started
        with suppress(ProcessLookupError):  # it has ended since
            os.sched_setaffinity(int(thread), cores)


def _taken(part: list[int], held: ExitStack) -> bool:
    """Whether all cores of a part were free, and are now this process's, as long as `held` is."""
    import fcntl  # which systems without affinities may lack

    folder = Path(platformdirs.user_cache_dir("uwct"), "cores")
    with ExitStack() as locks, suppress(OSError):  # another's, or a folder that cannot be written
        folder.mkdir(parents=True, exist_ok=True)
        for core in part:
            lock = locks.enter_context((folder / str(core)).open("ab"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.enter_context(locks.pop_all())
        return True
    return False
