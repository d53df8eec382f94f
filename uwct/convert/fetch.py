"""Downloads of pretrained weights: checked, and resumed where they broke off."""

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


def download(url: str, folder: Path, progress: Progress = lambda done, total: None) -> Path:
    """Downloads a file into a folder and returns its path; goes on where an earlier call broke off.

    The file's name must end with the beginning of its SHA-256, as torchvision's do (`vgg19-dcbb9e9d.pth`): what
    arrives is checked by it, and gets its name only when it is right. Proxies are taken from the environment. Raises
    ValueError for a name without a hash and for a file that is not what its name says, OSError when the file cannot
    be had or the folder not be written to.
    """
    name = url.partition("?")[0].rpartition("/")[2]
    match = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
    if not match:
        raise ValueError(f"the file's name must end with its hash, as in vgg19-dcbb9e9d.pth, not {name!r}")
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / name, folder / f"{name}.part"
    if target.exists() and _sha256(target).startswith(match[1]):
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
    found = _sha256(part)
    if not found.startswith(match[1]):
        part.unlink()
        raise ValueError(
            f"{url} is not the file that its name says: its SHA-256 begins with {found[:8]}; it was deleted"
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
