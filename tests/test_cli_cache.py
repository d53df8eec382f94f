import gc
import os
import subprocess
import sys

import jax
import pytest

from uwct.cli import cache


def test_programs_are_forgotten_when_they_are_too_many(monkeypatch):
    forgotten = []
    monkeypatch.setattr(cache, "_in_memory", 0)
    monkeypatch.setattr(cache, "MOST_PROGRAMS", 3)
    monkeypatch.setattr(jax, "clear_caches", lambda: forgotten.append("in memory"))
    monkeypatch.setattr(cache, "trim", lambda: forgotten.append("on disk"))
    cache.count_programs()
    for number in range(4):
        cache.make_room()
        assert not forgotten
        jax.jit(lambda x, number=number: x + number)(1.0).block_until_ready()  # may lie on the disk already
    cache.make_room()
    cache.make_room()
    assert forgotten == ["in memory", "on disk"]


def test_the_users_own_flags_for_the_compiler_come_last(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=here")
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    cache.start_quickly()
    assert cache.os.environ["XLA_FLAGS"].split() == [cache.QUICKER, "--xla_dump_to=here"]


def test_what_is_imported_is_not_garbage(monkeypatch):
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setenv("XLA_FLAGS", "")
    gc.unfreeze()
    cache.spare_the_collector.cache_clear()
    cache.start_quickly()
    frozen = gc.get_freeze_count()
    assert frozen > 100_000  # objects; JAX alone makes that many
    kept = [[] for _ in range(1000)]  # what a run makes is collected as ever, also after another command in one process
    cache.start_quickly()
    assert gc.get_freeze_count() < frozen + len(kept)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Ten of 100 bytes, JAX's and ours, the first used longest ago, in the user's cache directory, and another file."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path))
    (tmp_path / "notes.txt").write_bytes(bytes(1000))
    os.utime(tmp_path / "notes.txt", (0, 0))
    for i in range(10):
        program = tmp_path / (f"jit_{i}-cache" if i % 2 else f"jit_{i}-0.program")
        program.write_bytes(bytes(100))
        os.utime(program, (1000 + i, 10 - i))  # read in this order, written in the other
    return tmp_path


def left(folder):
    return sorted(int(path.name[4]) for path in folder.glob("jit_*"))


def test_what_was_used_longest_ago_is_deleted_from_the_disk(programs, monkeypatch):
    cache.trim()
    assert left(programs) == [*range(10)]  # they fit
    monkeypatch.setattr(cache, "MOST_BYTES", 450)
    cache.trim()
    assert left(programs) == [6, 7, 8, 9]
    assert (programs / "notes.txt").exists()


def test_a_cache_directory_of_the_users_own_is_not_trimmed(programs, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(programs))
    monkeypatch.setattr(cache, "MOST_BYTES", 0)
    cache.trim()
    assert left(programs) == [*range(10)]


def test_trimming_never_fails(programs, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(cache, "MOST_BYTES", 0)
    monkeypatch.setattr(cache.Path, "unlink", refuse)  # as Windows does where another process reads the file
    cache.trim()
    assert left(programs) == [*range(10)]
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda *_, **__: str(programs / "none"))
    cache.trim()


COMMAND = """
import sys
import jax
from uwct.cli import cache
cache.platformdirs.user_cache_dir = lambda *_, **__: sys.argv[1]
cache.MOST_BYTES = 60_000
cache.start_quickly()
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 8):
    total = jax.jit(lambda x: (number * jax.numpy.sin(x)).sum())(jax.numpy.arange(8.0))
print(total)
"""


def test_processes_side_by_side_keep_the_cache_within_its_bound(tmp_path):
    """And say nothing of it."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    for first in (1, 101):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", COMMAND, str(tmp_path), str(start)],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            for start in (first, first + 4)
        ]
        assert [process.communicate(timeout=300)[1] for process in processes] == ["", ""]
        assert [process.returncode for process in processes] == [0, 0]
    size = sum(path.stat().st_size for path in tmp_path.glob("*-cache"))
    assert 0 < size <= 60_000
