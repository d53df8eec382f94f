import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

PROGRAM = """
import os, sys
from uwct.datasets.cores import take_share
take_share(int(sys.argv[1]))
print(*sorted(os.sched_getaffinity(0)), flush=True)
sys.stdin.read()
"""
needs_affinities = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are shared out on Linux only")


@pytest.fixture
def start(tmp_path):
    """Starts a process that takes its share, and says which cores it has; it ends with the test, or when told to."""
    with ExitStack() as running:

        def started(workers: int):
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(workers)],
                env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            running.enter_context(process)
            running.callback(process.kill)
            return process, list(map(int, process.stdout.readline().split()))

        yield started


@needs_affinities
def test_workers_have_cores_of_their_own_until_they_end(start):
    cores = sorted(os.sched_getaffinity(0))
    assert len(cores) > 1
    first, of_first = start(2)
    _, of_second = start(2)
    _, of_third = start(2)
    assert (of_first, of_second) == (cores[::2], cores[1::2])
    assert of_third == cores  # all are taken, so it stays where it was
    first.kill()
    first.wait()
    assert start(2)[1] == of_first


@needs_affinities
@pytest.mark.parametrize("workers", [1, 10_000])
def test_one_worker_or_more_than_cores_share_them_all(start, workers):
    assert start(workers)[1] == sorted(os.sched_getaffinity(0))


@needs_affinities
def test_a_folder_that_cannot_be_written_changes_nothing(start, tmp_path):
    (tmp_path / "uwct").write_bytes(b"no folder")
    assert start(2)[1] == sorted(os.sched_getaffinity(0))
