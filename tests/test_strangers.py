"""Files from strangers and other bad input: each gets the sentence in docs/inputs.md, and nothing else happens."""

import re
import shlex
import sys

import pytest
from bad_inputs import DOCUMENT, ROWS, document

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
