"""Files that appear whole or not at all.

Contract: what is written lies under a hidden name beside its target, and on the disk, before it takes the target's
name. Whatever happens on the way (no room, SIGKILL, a crash of the computer), the target is the old file or the whole
new one; what is left over then is a hidden file that nothing reads. Files that grow, grow by whole lines. What a system
or a file system cannot do (waiting for the disk, replacing a file that is open) costs no finished file.
"""

import errno
import itertools
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# What means that data are lost; whatever else a file system answers, it is no more than not able to.
LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Seconds between tries to replace a file: on Windows, virus scanners and indexers open new files for a moment.
WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)


def hidden_prefix(path: Path) -> str:
    """How the names of temporary files and folders beside a path begin: short, since names have at most 255 bytes."""
    return f".{path.name[:40]}."


def new_beside(path: Path) -> Path:
    """A new, empty file under a hidden name beside `path`, with its suffix and what permissions the umask leaves."""
    temporary = path.with_name(f"{hidden_prefix(path)}{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    return temporary


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives an empty file beside `path` to write to, with the same suffix, which takes its place if all goes well.

    Raises OSError when there is no room, or the folder cannot be written to.
    """
    path = Path(path)
    try:
        temporary = new_beside(path)
        try:
            yield temporary
            publish(temporary, path)
        finally:
            discard(temporary)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from None


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file; raises OSError as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def publish(temporary: Path, path: Path) -> None:
    """Gives a finished file its name, in the same folder, once it is on the disk.

    Raises OSError for a disk without room, and where `path` cannot be replaced, as Windows refuses while a program has
    it open: the finished file is then kept under another name, which the error says.
    """
    _sync(temporary, os.O_RDWR)  # Windows waits only for what is open for writing
    try:
        _replace(temporary, path)
    except OSError as error:
        kept = next(name for i in itertools.count(2) if not (name := path.with_stem(f"{path.stem} ({i})")).exists())
        try:
            os.replace(temporary, kept)
        except OSError:
            raise error from None
        raise OSError(error.errno, f"{error.strerror}; the finished file is {kept.name}", str(path)) from None
    with suppress(OSError):
        _sync(path.parent, os.O_RDONLY)


def _replace(temporary: Path, path: Path) -> None:
    for seconds in WAITS:
        with suppress(PermissionError):
            return os.replace(temporary, path)
        time.sleep(seconds)
    os.replace(temporary, path)


def discard(temporary: Path) -> None:
    """Deletes a temporary file, if it is there and can be; a hidden one that stays is no reason to fail."""
    with suppress(OSError):
        temporary.unlink()


@contextmanager
def if_supported() -> Iterator[None]:
    """Within it the system may refuse what it is asked for; only that data are lost is raised, as OSError."""
    try:
        yield
    except OSError as error:
        if error.errno in LOST:
            raise


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Adds a line of JSON to a file, on the disk when it returns; a line that a crash cut short is ended first."""
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        end = b"" if file.read(1) in (b"", b"\n") else b"\n"
        file.write(end + json.dumps(record).encode() + b"\n")
        file.flush()
        with if_supported():
            os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of JSON in a file, none if there is no file; a line cut short by a crash is passed over."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def files_in(folder: Path, *, recursive: bool = False, within: tuple[str, ...] = ()) -> Iterator[Path]:
    """The files in a folder, and in its subfolders if `recursive`; symbolic links are followed, but not in circles.

    Names that begin with a dot are passed over: previews of macOS (`._cat.jpg`), `.ipynb_checkpoints`, and what our own
    commands leave when they are killed. `within` are the real paths of the folders that this one was found in.
    """
    real = os.path.realpath(folder)
    for path in folder.iterdir() if real not in within else ():
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif recursive and path.is_dir():
            yield from files_in(path, recursive=True, within=(*within, real))


def is_style(path: Path) -> bool:
    """Whether a file is called like a style file."""
    return path.suffix.lower() == ".safetensors"


def _sync(path: Path, flags: int) -> None:
    """Waits until a file or a folder is on the disk, where the file system can say so."""
    with if_supported():
        handle = os.open(path, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
