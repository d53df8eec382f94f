"""Apache Beam as the engine: whatever runs it, the same files as by the command alone."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import webdataset
from apache_beam.testing.util import assert_that, equal_to
from conftest import HEED_SIGINT, picture
from PIL import Image

import uwct
from uwct.beam import NAMESPACE, Stylize
from uwct.cli import augment
from uwct.datasets.tars import Tars
from uwct.datasets.work import Report


@pytest.fixture
def data(styles):
    """Four tars of two samples, of which one is no picture; two styles."""
    Path("in").mkdir()
    for shard in range(4):
        with webdataset.TarWriter(f"in/{shard}.tar") as tar:
            for i in range(2):
                path = Path(f"{shard}{i}.png")
                Image.fromarray(np.uint8(255 * picture(24, 32, 2 * shard + i))).save(path)
                image = b"no picture" if (shard, i) == (2, 1) else path.read_bytes()
                tar.write({"__key__": f"{shard}{i}", "png": image, "cls": i})
    return styles


OPTIONS = "--styles styles --model tiny.safetensors --levels 1 2"


def run(words):
    augment.main(shlex.split(f"{words} {OPTIONS}"))


def run_partly(words, capsys):
    with pytest.raises(SystemExit) as stop:
        run(words)
    assert stop.value.code == 1
    return capsys.readouterr().err


def run_anew(words):
    """The same in a process of its own, which takes its part of the cores before JAX starts."""
    command = [sys.executable, "-m", "uwct", "augment", *shlex.split(f"{words} {OPTIONS}")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    return result.stderr


def tars(name):
    return {path.name: path.read_bytes() for path in Path(name).glob("[!.]*.tar")}


def counters(result):
    return {
        c.key.metric.name: c.committed
        for c in result.metrics().query()["counters"]
        if c.key.metric.namespace == NAMESPACE
    }


def test_in_one_process_and_in_several_the_files_are_those_of_the_command(data, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(data))  # where it is seen which cores were taken
    for words in ("alone", "one --engine beam"):
        assert "2.tar: 21 is not a picture" in run_partly(f"in {words}", capsys)
    # By one core and by two, pictures differ in rounding: the same bytes come of the same --workers.
    for words in ("by_one_core --workers 2", "several --engine beam --workers 2"):
        assert "2.tar: 21 is not a picture" in run_anew(f"in {words}")
    if hasattr(os, "sched_setaffinity"):
        assert {path.name for path in Path("uwct/cores").iterdir()} == set(map(str, os.sched_getaffinity(0)))
    assert tars("one") == tars("alone")
    assert tars("several") == tars("by_one_core")
    assert len(tars("one")) == 4


def test_a_folder_of_pictures_too(data):
    Path("photos").mkdir()
    for path in Path().glob("0*.png"):
        path.rename(Path("photos") / path.name)
    run("photos alone")
    run("photos spread --engine beam")
    found = {name: {p.name: p.read_bytes() for p in Path(name).glob("*.png")} for name in ("alone", "spread")}
    assert found["alone"] == found["spread"] != {}


def test_metrics_count_what_was_done_and_name_what_was_not(data):
    Path("in/3.tar").write_bytes(b"no tar")
    Path("out").mkdir()
    stylizer = uwct.Stylizer("styles", "store", "tiny.safetensors", levels=(1, 2), style_size=32)
    stylize = Stylize(Tars(Path("in"), Path("out")), stylizer)

    def once():
        pipeline = beam.Pipeline()
        reports = pipeline | beam.Create([f"{i}.tar" for i in range(4)]) | stylize
        assert_that(reports | beam.Map(lambda report: (report.shard, report.missing)),
                    equal_to([("0.tar", False), ("1.tar", False), ("2.tar", False), ("3.tar", True)]))  # fmt: skip
        result = pipeline.run()
        result.wait_until_finish()
        return result

    result = once()
    assert counters(result) == {"shards": 3, "pictures": 5, "failed_pictures": 1, "failed_shards": 1}
    (texts,) = (s.result for s in result.metrics().query()["string_sets"] if s.key.metric.name == "failures")
    assert any("in/3.tar cannot be read" in text for text in texts)
    assert any("21 is not a picture" in text for text in texts)
    again = counters(once())
    assert (again["skipped"], again["pictures"], again["failed_shards"]) == (3, 0, 1)


def test_an_unreadable_shard_is_named_and_the_others_are_made(data, capsys):
    Path("in/0.tar").write_bytes(b"no tar")
    said = run_partly("in out --engine beam", capsys)
    assert "in/0.tar cannot be read as a tar" in said
    assert set(tars("out")) == {"1.tar", "2.tar", "3.tar"}


def test_killed_and_started_again_it_goes_on(data, capsys):
    run_partly("in whole", capsys)
    words = shlex.split(f"in out {OPTIONS} --engine beam")
    program = f"{HEED_SIGINT}from uwct.cli.augment import main; main({words!r})"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while not tars("out") and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    times = {name: Path("out", name).stat().st_mtime_ns for name in tars("out")}
    assert times
    assert all(tars("out")[name] == tars("whole")[name] for name in times)  # whole, or not there
    Path("out/2.tar").unlink(missing_ok=True)  # so that the bad picture is met
    run_partly("in out --engine beam", capsys)
    assert tars("out") == tars("whole")
    assert all(Path("out", name).stat().st_mtime_ns == time for name, time in times.items() if name != "2.tar")


def test_what_cannot_be_is_one_sentence(data, capsys):
    for words, sentence in (
        ("--engine beam --shard 0/2", "--shard and --engine beam exclude each other"),
        ("--engine beam --styles in", "the folder in holds no styles"),
        ("--engine beam --workers 0", "--workers must be at least 1, not 0"),
    ):
        with pytest.raises(SystemExit) as stop:
            augment.main(shlex.split(f"in out {OPTIONS} {words}"))
        assert stop.value.code == 2
        assert sentence in capsys.readouterr().err


def test_a_report_of_what_was_there_already_is_empty():
    assert Report("0.tar") == Report("0.tar", 0, (), False, ())
