"""`uwct web`: a page in the browser."""

import dataclasses
import importlib.util
import logging
import math
import os
import signal
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import tyro

from uwct.cli.cache import start_quickly
from uwct.cli.errors import one_sentence
from uwct.cli.limits import MEGAPIXELS, check_size, pixel_limit
from uwct.cli.networks import Networks
from uwct.cli.painter import Painter
from uwct.cli.parsing import parsed
from uwct.cli.starting import interrupt
from uwct.pictures import images

HELP = """Serve a page to paint photos on: photos from files or the camera, styles from a gallery, sliders, a brush for
the parts that are to stay as they are, and the picture to download. Its address is printed, to be opened in a browser:
http://127.0.0.1:7860, unless --port or --host say otherwise.

Everything is computed on this computer, and nobody else can open the page, unless --host or --share says so. Nothing is
sent anywhere else, but by --share. What was uploaded is deleted when the command ends.

Examples:
  uwct web --styles examples/styles
  uwct web --styles examples/styles --size 1024"""


LOOPBACK = ("127.0.0.1", "localhost", "::1")  # addresses that nobody but this computer reaches


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one who uses the page may take of the computer.

    Attributes:
      upload: the largest file, as Gradio takes it.
      megapixels: the largest picture.
      waiting: how many pictures may wait for the one that is being painted.
      seconds: after which refinement ends early.
      kept: the seconds after which what was uploaded and painted is deleted, at the latest when the command ends.
      promise: what the page says of that.
    """

    upload: str = "50mb"
    megapixels: float = MEGAPIXELS
    waiting: int = 20
    seconds: float = math.inf
    kept: float = math.inf
    promise: str = "Your pictures stay on this computer."


STRANGERS = Limits("10mb", 24, 10, 60, 1800, "Your pictures are shown to nobody else, and deleted after half an hour.")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command was asked to do; the words under each field are its help."""

    networks: Annotated[Networks, tyro.conf.arg(name="")]
    styles: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """A folder of pictures to choose styles from; others can be added on the page."""
    size: int = 512
    """The largest long side of results in pixels; 0 keeps the photo's size."""
    host: str = "127.0.0.1"
    """The address to listen at. 127.0.0.1 is this computer alone; with 0.0.0.0, everybody who can reach this computer
    finds the page, and it must be said who may use it: --auth, or --public for all."""
    port: int = 7860
    """The port to listen at, 1 to 65535."""
    auth: Annotated[str | None, tyro.conf.arg(metavar="{USER:PASSWORD}|FILE")] = None
    """Who may use the page: a name and a password, or a file with one such pair a line. An address of --host that
    others reach, and --share, need this or --public."""
    public: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Let anybody use the page who can reach it, as a hosted page must, within narrower limits: files of 10 MB and 24
    megapixels, 10 pictures that wait, a minute of refinement; what was uploaded is deleted after half an hour."""
    share: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also give the page an address on the internet for some days, by Gradio's servers, through which pictures then
    pass: for notebooks in the cloud, such as Colab. It needs --auth or --public."""
    root_path: Annotated[str, tyro.conf.arg(metavar="PATH")] = ""
    """The path under which a proxy shows the page, such as /uwct."""


def main(argv: list[str] | None = None, prog: str = "uwct web") -> None:
    """Serves the page until it is interrupted, as the help says."""
    arguments: Arguments = parsed(Arguments, argv, prog, HELP)
    start_quickly()
    with one_sentence():
        check(arguments)
        serve(arguments)


def check(arguments: Arguments) -> None:
    """Raises ValueError or ImportError for what cannot be served."""
    check_size("--size", arguments.size)
    if not 1 <= arguments.port <= 65535:
        raise ValueError(f"--port must lie between 1 and 65535, not {arguments.port}")
    named = arguments.auth or arguments.public
    if arguments.host not in LOOPBACK and not named:
        raise ValueError(f"--host {arguments.host} lets others use the page; say who may with --auth, or --public")
    if arguments.share and not named:
        raise ValueError("--share lets others use the page; say who may with --auth, or --public")
    if arguments.public and arguments.size == 0:
        raise ValueError("--public needs a limit of --size, not 0")
    if arguments.root_path and not arguments.root_path.startswith("/"):
        raise ValueError(f"--root-path must begin with /, not {arguments.root_path}")
    users(arguments.auth)
    if importlib.util.find_spec("gradio") is None:
        raise ImportError('uwct web needs Gradio: python -m pip install ".[web]"')


def users(auth: str | None) -> list[tuple[str, str]] | None:
    """Names and passwords, as --auth gives them; raises ValueError for anything else."""
    if auth is None:
        return None
    path = Path(auth)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else [auth]
    pairs = [line.partition(":") for line in lines if line.strip()]
    if not pairs or not all(name and password for name, _, password in pairs):
        raise ValueError("--auth must be USER:PASSWORD, or a file with one such pair a line")
    return [(name, password) for name, _, password in pairs]


def check_address(host: str, port: int) -> None:
    """Raises OSError for an address that is taken, or not this computer's."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (")  # Python adds the address
        raise OSError(f"cannot listen at {host}, port {port}: {reason}") from None


def serve(arguments: Arguments) -> None:
    """Serves the page until it is interrupted."""
    limits = STRANGERS if arguments.public else Limits()
    styles = images.pictures_in(arguments.styles) if arguments.styles else []
    painter = Painter(arguments.networks.load(), arguments.size)
    check_address(arguments.host, arguments.port)
    folder = tempfile.TemporaryDirectory(prefix="uwct-", ignore_cleanup_errors=True)
    with folder as cache, pixel_limit(limits.megapixels), suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, interrupt)
        # Gradio reads these when it is imported, and calls its own page when it starts, which no proxy can reach.
        no_proxy = f"{arguments.host},localhost,{os.environ.get('no_proxy', '')}"
        os.environ |= {"GRADIO_TEMP_DIR": cache, "GRADIO_ANALYTICS_ENABLED": "False", "no_proxy": no_proxy}
        from uwct.cli import page

        logging.getLogger("uvicorn.error").addFilter(worth_saying)
        blocks = page.build(painter, styles, Path(cache), limits.promise, limits.seconds)
        gallery = set(all_files(Path(cache)))
        _, url, public = blocks.queue(max_size=limits.waiting).launch(
            server_name=arguments.host, server_port=arguments.port, max_file_size=limits.upload,
            theme=page.THEME, css=page.CSS, footer_links=[], quiet=True, prevent_thread_lock=True,
            share=arguments.share, auth=users(arguments.auth), root_path=arguments.root_path,
            ssr_mode=False, mcp_server=False, enable_monitoring=False,
        )  # fmt: skip
        print(f"open {public or url} in a browser; Ctrl-C ends this", flush=True)
        while True:
            time.sleep(60)
            sweep(Path(cache), limits.kept, gallery)


def all_files(folder: Path) -> list[Path]:
    """The files in a folder and in those within, the hidden ones too: whatever was uploaded is to go."""
    return [path for path in folder.rglob("*") if path.is_file()]


def sweep(folder: Path, kept: float, gallery: set[Path]) -> None:
    """Deletes the files in a folder, but those of the gallery, that are older than `kept` seconds."""
    for path in set(all_files(folder)) - gallery:
        with suppress(FileNotFoundError):  # Gradio deletes some itself
            if time.time() - path.stat().st_mtime > kept:
                path.unlink()


def worth_saying(record: logging.LogRecord) -> bool:
    """False for what the server logs when somebody leaves the page in the middle of an upload."""
    from starlette.requests import ClientDisconnect

    return not (record.exc_info and isinstance(record.exc_info[1], ClientDisconnect))
