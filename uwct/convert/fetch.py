"""The files of published networks, downloaded or copied into a folder: checked, and resumed where they broke off."""

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import requests

from uwct.files import publish, replacing
from uwct.networks.published import File, Identity

TRIES = 4
CHUNK = 1 << 16
SECONDS = 30  # without any answer
# Without compression: ranges and lengths are then those of the file.
HEADERS = {"Accept-Encoding": "identity"}
# (bytes there are, bytes in all, or 0 if nobody says)
Progress = Callable[[int, int], None]


class UnavailableError(OSError):
    """A server does not give a file."""


def bring(
    files: Sequence[File], folder: Path, address: str, progress: Progress = lambda done, total: None
) -> list[Path]:
    """Downloads files from their places below an address into a folder, and returns their paths, in the same order.

    What is there already is not fetched again. `progress` is told the bytes of all files together. Raises as `download`
    does, after the first file that cannot be had; those before it are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    urls = [f"{address.rstrip('/')}/{file.place}" for file in files]
    sizes = _sizes(files, urls, folder)
    paths: list[Path] = []
    for i, (file, url) in enumerate(zip(files, urls, strict=True)):

        def told(done: int, total: int, i: int = i) -> None:
            sizes[i] = sizes[i] or total
            progress(sum(sizes[:i]) + done, sum(sizes) if all(sizes) else 0)

        paths.append(download(url, folder / file.name, file, told))
        sizes[i] = paths[i].stat().st_size
        told(sizes[i], sizes[i])
    return paths


def _sizes(files: Sequence[File], urls: Sequence[str], folder: Path) -> list[int]:
    """The files' bytes: known, of what is there, or as the server says; 0 where it does not."""
    sizes = [file.identity.size for file in files]
    with suppress(requests.RequestException, OSError):  # what ails a server is said where a file is to be had from it
        for i, (file, url) in enumerate(zip(files, urls, strict=True)):
            if (folder / file.name).exists():
                sizes[i] = (folder / file.name).stat().st_size
            elif not sizes[i]:
                with requests.head(url, headers=HEADERS, timeout=SECONDS, allow_redirects=True) as answer:
                    sizes[i] = _length(answer) if answer.ok else 0
    return sizes


def take(files: Sequence[File], source: Path, folder: Path) -> list[File]:
    """Copies files into a folder, as `bring` names them, from a folder where they lie under whatever names.

    Folders in it are looked through too. Returns the files that are in neither. Raises ValueError without such a
    folder, OSError for what cannot be read or written.
    """
    if not source.is_dir():
        raise ValueError(f"there is no folder {source} of published files")
    folder.mkdir(parents=True, exist_ok=True)
    left = {file for file in files if not _is_there(folder / file.name, file)}
    for path in sorted(source.rglob("*")) if left else ():
        size = path.stat().st_size if path.is_file() else 0
        if not size or all(file.identity.size not in (0, size) for file in left):
            continue  # it need not be read
        identity = identify(path)
        for file in [file for file in left if file.is_known_by(identity)]:
            with replacing(folder / file.name) as temporary:
                shutil.copyfile(path, temporary)
            left.remove(file)
    return [file for file in files if file in left]


def _is_there(path: Path, file: File) -> bool:
    return path.is_file() and file.is_known_by(identify(path))


def identify(path: Path) -> Identity:
    """What a file is known by."""
    size = path.stat().st_size
    # SHA-1 because git has it so; where SHA-256 is known as well, both must fit.
    blob, sha256 = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            blob.update(chunk)
            sha256.update(chunk)
    return Identity(size, blob.hexdigest(), sha256.hexdigest())


def download(url: str, target: Path, file: File, progress: Progress = lambda done, total: None) -> Path:
    """Downloads a file to a path, which it returns; goes on where an earlier call broke off.

    What arrives gets its name only when it is that file; what is there already is not fetched again. Proxies are taken
    from the environment. Raises ValueError for another file, UnavailableError when it cannot be had, OSError when the
    folder cannot be written to.
    """
    part = target.with_name(f"{target.name}.part")
    if _is_there(target, file):
        return target
    if _is_there(part, file):  # an earlier call ended before it gave it its name
        publish(part, target)
        return target
    for left in reversed(range(TRIES)):
        try:
            _receive(url, part, file.identity.size, progress)
            break
        except (requests.ConnectionError, requests.Timeout) as error:
            if not left:
                there = part.stat().st_size if part.exists() else 0
                kept = f"; {there} bytes are kept, run it again to go on" if there else ""
                raise UnavailableError(f"{url} cannot be had: {_reason(error)}{kept}") from None
        except requests.RequestException as error:
            raise UnavailableError(f"{url} cannot be had: {_reason(error)}") from None
    found = identify(part)
    if not file.is_known_by(found):
        part.unlink()
        raise ValueError(
            f"{url} is not the file that was expected: its SHA-256 begins with {found.sha256[:8]}; it was deleted"
        )
    publish(part, target)
    return target


def _receive(url: str, part: Path, size: int, progress: Progress) -> None:
    """Adds to the part what it lacks of a file of so many bytes, or of an unknown number, 0.

    Raises requests.ConnectionError when the connection broke off before the end, ValueError, with the part as it was,
    for a file of another size.
    """
    there = part.stat().st_size if part.exists() else 0
    headers = HEADERS | ({"Range": f"bytes={there}-"} if there else {})
    with requests.get(url, headers=headers, stream=True, timeout=SECONDS) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink(missing_ok=True)  # longer than the file, or the whole of another: from the beginning
            raise requests.ConnectionError("the server has no more than what is there")
        answer.raise_for_status()
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        if answer.status_code != requests.codes.partial_content or not resumed:
            there = 0
        length = _length(answer)
        total = there + length if length else 0
        if size and total and total != size:
            raise ValueError(f"{url} is not the file that was expected: it has {total} bytes, not {size}")
        try:
            with part.open("ab" if there else "wb") as file:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    there += len(chunk)
                    progress(there, total)
                    if size and there > size:
                        return  # a server that never ends; what it gave is refused for what it is
        except requests.exceptions.ChunkedEncodingError:
            raise requests.ConnectionError(f"it broke off after {there} of {total} bytes") from None
    if there < total:
        raise requests.ConnectionError(f"it broke off after {there} of {total} bytes")


def _length(answer: requests.Response) -> int:
    """The bytes that an answer says it brings, or 0."""
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else 0


def _reason(error: requests.RequestException) -> str:
    """The innermost cause, without the layers of objects around it."""
    if error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    text = str(error)
    cause = re.findall(r"(?:Errno -?\d+\] |: )([A-Z][A-Za-z ]+)[^:\]]*$", text)
    return cause[-1].strip() if cause else text
