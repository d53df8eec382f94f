"""Downloads of pretrained weights: checked, and resumed where they broke off."""

import dataclasses
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import requests

from uwct.files import publish

VGG19 = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
TRIES = 4
CHUNK = 1 << 16
SECONDS = 30  # without any answer
# (bytes there are, bytes in all, or 0 if the server does not say)
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a file is known by; an empty value is not checked.

    Attributes:
      sha256: the beginning of its SHA-256, or all of it.
      git_blob: the SHA-1 by which git stores it: of "blob SIZE", a zero byte, and the content.
    """

    sha256: str = ""
    git_blob: str = ""

    def fits(self, path: Path) -> bool:
        """Whether a file is that one."""
        if not _sha256(path).startswith(self.sha256):
            return False
        content = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                content.update(chunk)
        return not self.git_blob or content.hexdigest() == self.git_blob


def named_by_hash(url: str) -> Expected:
    """What a file must be whose name ends with its hash, as torchvision's do; raises ValueError for another name."""
    name = url.partition("?")[0].rpartition("/")[2]
    match = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
    if not match:
        raise ValueError(f"the file's name must end with its hash, as in vgg19-dcbb9e9d.pth, not {name!r}")
    return Expected(sha256=match[1])


def download(url: str, target: Path, expected: Expected, progress: Progress = lambda done, total: None) -> Path:
    """Downloads a file to a path, which it returns; goes on where an earlier call broke off.

    What arrives gets its name only when it is what was expected; what is there already is not fetched again. Proxies
    are taken from the environment. Raises ValueError for a file that is another, OSError when the file cannot be had or
    the folder not be written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    if target.exists() and expected.fits(target):
        return target
    for left in reversed(range(TRIES)):
        try:
            _receive(url, part, progress)
            break
        except (requests.ConnectionError, requests.Timeout) as error:
            if not left:
                there = part.stat().st_size if part.exists() else 0
                kept = f"; {there} bytes are kept, run it again to go on" if there else ""
                raise OSError(f"{url} cannot be had: {_reason(error)}{kept}") from None
        except requests.RequestException as error:
            raise OSError(f"{url} cannot be had: {_reason(error)}") from None
    if not expected.fits(part):
        found = _sha256(part)
        part.unlink()
        raise ValueError(
            f"{url} is not the file that was expected: its SHA-256 begins with {found[:8]}; it was deleted"
        )
    publish(part, target)
    return target


def _receive(url: str, part: Path, progress: Progress) -> None:
    """Adds to the part what it lacks; raises requests.ConnectionError when the connection broke off before the end."""
    there = part.stat().st_size if part.exists() else 0
    # Without compression: ranges and lengths are then those of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    with requests.get(url, headers=headers, stream=True, timeout=SECONDS) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # longer than the file, or the whole of another: from the beginning
            raise requests.ConnectionError("the server has no more than what is there")
        answer.raise_for_status()
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        if answer.status_code != requests.codes.partial_content or not resumed:
            there = 0
        length = int(answer.headers.get("Content-Length", 0))
        total = there + length if length else 0
        try:
            with part.open("ab" if there else "wb") as file:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    there += len(chunk)
                    progress(there, total)
        except requests.exceptions.ChunkedEncodingError:
            raise requests.ConnectionError(f"it broke off after {there} of {total} bytes") from None
    if there < total:
        raise requests.ConnectionError(f"it broke off after {there} of {total} bytes")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: requests.RequestException) -> str:
    """The innermost cause, without the layers of objects around it."""
    if error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    text = str(error)
    cause = re.findall(r"(?:Errno -?\d+\] |: )([A-Z][A-Za-z ]+)[^:\]]*$", text)
    return cause[-1].strip() if cause else text
