"""Systems and file systems that refuse what they are asked for: no finished file is lost."""

import errno
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from conftest import picture

from uwct import files
from uwct.pictures import images
from uwct.pictures.canvas import Canvas


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "WAITS", (0, 0))
    return tmp_path


def names():
    return sorted(path.name for path in Path().iterdir())


def refusing(number):
    def refuse(*words, **options):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_that_refuses_costs_nothing(monkeypatch, number):
    monkeypatch.setattr(os, "fsync", refusing(number))
    files.write_bytes("a.bin", b"new")
    files.append_line(Path("lines.jsonl"), {"a": 1})
    images.write("a.png", images.Picture(picture(4, 5)))
    assert names() == ["a.bin", "a.png", "lines.jsonl"]
    assert Path("a.bin").read_bytes() == b"new"
    assert images.read("a.png").size == "5x4"
    assert files.read_lines(Path("lines.jsonl")) == [{"a": 1}]


@pytest.mark.parametrize("number", files.LOST)
def test_a_disk_that_lost_the_data_is_an_error(monkeypatch, number):
    monkeypatch.setattr(os, "fsync", refusing(number))
    with pytest.raises(OSError, match=r"^a\.bin cannot be written: ") as fault:
        files.write_bytes("a.bin", b"new")
    assert str(fault.value).endswith(os.strerror(number))
    with pytest.raises(OSError, match=os.strerror(number)):
        files.append_line(Path("lines.jsonl"), {"a": 1})
    assert names() == ["lines.jsonl"]


def test_files_are_synced_by_handles_that_may_write_and_folders_need_not_be(monkeypatch):
    """As Windows has it, which refuses to sync what was opened for reading, and to open folders."""
    real_open, real_sync, flags = os.open, os.fsync, {}

    def opened(path, how, *words, **options):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        handle = real_open(path, how, *words, **options)
        flags[handle] = how
        return handle

    synced = []

    def sync(handle):
        if not flags.get(handle, os.O_RDWR) & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EBADF, "Bad file descriptor")
        real_sync(handle)
        synced.append(handle)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", sync)
    files.write_bytes("a.bin", b"new")
    assert len(synced) == 1
    assert names() == ["a.bin"]


def held(monkeypatch, name, times):
    """Replacing the file fails so many times, as on Windows while a program has it open."""
    real, tries = os.replace, []

    def replace(source, target):
        if os.path.basename(target) == name and len(tries) < times:
            tries.append(source)
            raise PermissionError(errno.EACCES, "Permission denied", source, None, target)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)


def test_a_file_that_is_open_for_a_moment_is_waited_for(monkeypatch):
    Path("a.bin").write_bytes(b"old")
    held(monkeypatch, "a.bin", 2)
    files.write_bytes("a.bin", b"new")
    assert Path("a.bin").read_bytes() == b"new"
    assert names() == ["a.bin"]


def test_what_cannot_replace_an_open_file_is_kept_beside_it(monkeypatch):
    Path("a.png").write_bytes(b"old")
    Path("a (2).png").write_bytes(b"earlier")
    held(monkeypatch, "a.png", 100)
    message = r"^a\.png cannot be written: Permission denied; the finished file is a \(3\)\.png$"
    with pytest.raises(OSError, match=message):
        images.write("a.png", images.Picture(picture(4, 5)))
    assert names() == ["a (2).png", "a (3).png", "a.png"]
    assert [Path(name).read_bytes() for name in ("a.png", "a (2).png")] == [b"old", b"earlier"]
    assert images.read("a (3).png").size == "5x4"


def test_a_temporary_file_that_stays_hides_no_error(monkeypatch):
    monkeypatch.setattr(Path, "unlink", refusing(errno.EACCES))
    with pytest.raises(ValueError, match="no picture"), files.replacing("a.bin"):
        raise ValueError("no picture")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_what_is_written_can_be_read_by_whom_the_umask_lets(umask, mode):
    before = os.umask(umask)
    try:
        files.write_bytes("a.bin", b"new")
        files.write_bytes("a.bin", b"newer")
    finally:
        os.umask(before)
    if os.name == "posix":
        assert stat.S_IMODE(Path("a.bin").stat().st_mode) == mode


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system has no posix_fallocate")
def test_a_canvas_needs_no_more_than_a_file(monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.EOPNOTSUPP))
    canvas = Canvas.create(Path("a.raw"), (4, 5, 3))
    canvas.write(1, 2, np.ones((1, 1, 3), np.float32))
    assert canvas.read(slice(1, 2))[0, 2].tolist() == [1, 1, 1]


def test_a_canvas_that_the_disk_has_no_room_for_is_refused_on_every_system(monkeypatch):
    """Also where nothing can be set aside; a mapping that finds the disk full would end the process."""
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    size = shutil.disk_usage(".").free // 12 + 2**20  # pixels
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        Canvas.create(Path("a.raw"), (2**10, size // 2**10, 3))
    assert names() == []
