import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from uwct.datasets.cores import take_share
take_share(int(sys.argv[1]))
print(*sorted(os.sched_getaffinity(0)), flush=True)
sys.stdin.read()
"""
AUGMENT = """
import os, sys
from uwct.cli import augment

def watched(pictures, unit):
    yield from pictures
    print({tuple(sorted(os.sched_getaffinity(int(thread)))) for thread in os.listdir("/proc/self/task")})

augment.tqdm = watched
augment.main(sys.argv[1:])
print(sorted(os.sched_getaffinity(0)))
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


@needs_affinities
def test_a_command_keeps_all_its_threads_to_its_cores_while_it_paints(styles):
    """JAX starts its threads at its first use, which is early."""
    Path("photos").mkdir()
    Path("photo.jpg").rename("photos/photo.jpg")
    words = ["photos", "out", "--styles", "styles", "--model", "tiny.safetensors", "--workers", "2"]
    ran = subprocess.run(
        [sys.executable, "-c", AUGMENT, *words],
        env=os.environ | {"XDG_CACHE_HOME": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=True,
    )
    cores = sorted(os.sched_getaffinity(0))
    assert ran.stdout.splitlines() == [str({tuple(cores[::2])}), str(cores)]
