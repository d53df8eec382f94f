"""The cores of one computer, divided between processes that paint on it side by side.

A network's products are spread over all cores that a process has. Of several processes that all do that, each waits for
threads that another keeps from running; on cores of their own they paint a third more pictures.
"""

import os
from functools import cache
from pathlib import Path
from typing import IO

import platformdirs

_held: list[IO[bytes]] = []  # locks, until this process ends


@cache  # one try a process: later, threads run where they run
def take_share(workers: int) -> None:
    """Keeps this process to one of `workers` parts of its cores that no other has taken; before JAX starts its threads.

    Nothing changes where the system cannot do that (it is Linux that can), where there are fewer cores than workers, or
    where others have taken them all.
    """
    if workers == 1 or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < workers:
        return
    for share in (cores[part::workers] for part in range(workers)):
        if _taken(share):
            os.sched_setaffinity(0, share)
            return


def _taken(share: list[int]) -> bool:
    """Whether all cores of a share were free, and are now this process's."""
    import fcntl  # which systems without affinities may lack

    locks: list[IO[bytes]] = []
    folder = Path(platformdirs.user_cache_dir("uwct"), "cores")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for core in share:
            locks.append((folder / str(core)).open("ab"))
            fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another's, or a folder that cannot be written
        for lock in locks:
            lock.close()
        return False
    _held.extend(locks)
    return True
