import dataclasses
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import HEED_SIGINT

from uwct.cli import main as uwct_main
from uwct.cli.parsing import parsed

ROOT = Path(__file__).parents[1]


def test_uwct_names_its_commands(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["uwct"])
    uwct_main.main()
    assert "uwct stylize" in capsys.readouterr().out
    with ThreadPoolExecutor(1) as threads:  # which cannot handle signals
        threads.submit(uwct_main.main).result()
    assert "uwct stylize" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["uwct", "paint"])
    with pytest.raises(SystemExit) as end:
        uwct_main.main()
    assert end.value.code == 2
    assert "there is no command 'paint'" in capsys.readouterr().err


@dataclasses.dataclass
class Asked:
    """What a command is asked."""

    size: int = 0
    """The long side in pixels, which is that of the photo where nothing is said, as far as
    --tile allows."""


def test_help_breaks_its_lines_where_the_terminal_ends_and_not_where_the_code_does(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        parsed(Asked, ["--help"], "ask", "Asks.")
    assert "where nothing is said, as far as --tile allows. (default: 0)" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["paint"]])
def test_nobody_waits_for_jax_to_read_which_commands_there_are(words):
    program = (
        f"import sys; sys.argv[1:] = {words}; from uwct.cli.main import main\ntry: main()\nfinally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert "uwct stylize" in done.stdout + done.stderr
    imported = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "uwct" in imported
    assert not imported & {"jax", "flax", "numpy", "tyro", "PIL"}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--help"], "Paint a photo"),
        (["--content", "a.jpg", "--style", "b.jpg", "--alpha", "2"], "error: --alpha must lie between 0 and 1, not 2"),
        (["--content", "no.jpg", "--style", "b.jpg"], "error: there is no picture no.jpg"),
    ],
)
def test_nobody_waits_for_jax_to_read_how_to_stylize_or_what_cannot_be(words, answer):
    program = f"import sys; from uwct.cli.stylize import main\ntry: main({words})\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert answer in done.stdout + done.stderr
    assert not {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()} & {"jax", "flax", "optax"}


@pytest.mark.parametrize("command", ["stylize", "train", "measure", "evaluate"])
def test_help_runs_from_every_entry(command):
    entries = [[sys.executable, "-m", "uwct", command]]
    if command in ("stylize", "train"):
        entries.append([sys.executable, f"{command}.py"])
    for entry in entries:
        result = subprocess.run([*entry, "--help"], capture_output=True, text=True, cwd=ROOT, check=True)
        assert "Example" in result.stdout


@pytest.mark.parametrize("words", [["-m", "uwct", "video"], ["stylize.py"], ["train.py"]])
def test_help_that_nobody_reads_to_its_end_ends_silently(words):
    program = [sys.executable, *words, "--help"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize(
    "words",
    ["stylize --content '' --style a.png", "grid --contents a.png --styles a.png ''", "style info ''", "video '' out",
     "train --data folder:. --output ''"],
)  # fmt: skip
def test_an_empty_path_is_not_the_current_folder(folder, capsys, monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["uwct", *shlex.split(words)])
    before = set(folder.iterdir())
    with pytest.raises(SystemExit) as end:
        uwct_main.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: a path is empty: name a file or a folder, or leave the option out\n"
    assert set(folder.iterdir()) == before


# Runs a program that SIGINT reaches when a package is first imported: there, or in a callback, of which no exception
# comes out.
INTERRUPTED = """
import os, runpy, sys, weakref
package, where, program, *words = sys.argv[1:]

class Finder:
    def find_spec(self, name, *_):
        if name == package:
            sys.meta_path.remove(self)
            interrupt = lambda *_: os.kill(os.getpid(), signal.SIGINT)
            if where == "callback":
                something = Finder()
                kept.append(weakref.ref(something, interrupt))
            else:
                interrupt()

kept, sys.argv[1:] = [], words
sys.meta_path.insert(0, Finder())
(runpy.run_path if program.endswith(".py") else runpy.run_module)(program, run_name="__main__")
"""


@pytest.mark.parametrize("where", ["import", "callback"])
@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("tyro", ["uwct", "grid"]),
        ("tyro", ["stylize.py"]),
        ("optax", ["train.py"]),
        ("jax", ["stylize.py", "--content", "stylize.py", "--style", "stylize.py"]),
    ],
)
def test_an_interrupt_while_a_command_starts_ends_it(package, words, where):
    program = [sys.executable, "-c", HEED_SIGINT + INTERRUPTED, package, where, *words]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == "interrupted\n"
    assert done.returncode == 130


# Is ended by a signal in a callback of the garbage collector, of which no exception comes out.
COLLECTING = """
import gc, os, sys, time
from uwct.cli.errors import one_sentence
from uwct.cli.starting import ending_at_once

sent = []

def callback(*_):
    if not sent:
        sent.append(os.kill(os.getpid(), getattr(signal, sys.argv[1])))

with ending_at_once(), one_sentence():
    gc.callbacks.append(callback)
    gc.collect()
    signal.pause()
"""


@pytest.mark.parametrize(("name", "said", "code"), [("SIGINT", "interrupted", 130), ("SIGTERM", "terminated", 143)])
def test_a_signal_while_garbage_is_collected_is_not_lost(name, said, code):
    words = [sys.executable, "-c", HEED_SIGINT + COLLECTING, name]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stderr, done.stdout, done.returncode) == (f"{said}\n", "", code)


# Is interrupted, and once more while Python, at its end, waits for a thread.
TWICE = """
import os, threading, time
from uwct.cli.errors import one_sentence
from uwct.cli.starting import ending_at_once

def interrupt_at_the_end():
    while threading.main_thread().is_alive():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

with ending_at_once(), one_sentence():
    threading.Thread(target=interrupt_at_the_end).start()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
"""


def test_interrupted_twice_it_ends_without_a_traceback():
    done = subprocess.run([sys.executable, "-c", HEED_SIGINT + TWICE], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == "interrupted\ninterrupted\n"
    assert done.returncode == 130


# Is ended by a signal where a library's exit function would crash, as those of XLA's do while a picture is computed.
CRASHING = """
import atexit, ctypes, os, sys, time
from uwct.cli.errors import one_sentence
from uwct.cli.starting import ending_at_once

crash = ctypes.CFUNCTYPE(None)(lambda: ctypes.string_at(0))
with ending_at_once(), one_sentence():
    ctypes.CDLL(None).__cxa_atexit(crash, None, None)
    atexit.register(print, "cleaned up")
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    time.sleep(60)
"""


@pytest.mark.parametrize(("name", "said", "code"), [("SIGINT", "interrupted", 130), ("SIGTERM", "terminated", 143)])
def test_ended_by_a_signal_it_leaves_libraries_alone(name, said, code):
    words = [sys.executable, "-c", HEED_SIGINT + CRASHING, name]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert (done.stderr, done.stdout, done.returncode) == (f"{said}\n", "cleaned up\n", code)
    without = ["sh", "-c", 'exec "$@" >&-', "sh", *words]  # and with its stdout closed
    done = subprocess.run(without, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (done.stderr, done.returncode) == (f"{said}\n", code)
