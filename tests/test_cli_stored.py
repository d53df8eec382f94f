"""Programs kept whole on disk: the next process neither traces nor compiles them, and none serves that should not."""

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from PIL import Image

from uwct.cli import cache, stored
from uwct.cli.errors import Terminated
from uwct.cli.stored import LOADED, Store
from uwct.pipeline.parts import resolve
from uwct.pipeline.refine import refined, with_manners
from uwct.pipeline.styles import encode_style
from uwct.pipeline.whole import stylize
from uwct.transforms import programs
from uwct.transforms.matching import adain, wct
from uwct.transforms.programs import quick_jit

ARGUMENTS = {"x": np.float32([[2, 1], [1, 2]]), "more": {"shift": 1}}


@partial(jax.jit, static_argnames=("power", "chosen"))
def roots(x, more, power, chosen=None):
    """Of a decomposition by LAPACK, so that its functions must be there when it is read again."""
    return {"roots": jnp.linalg.eigh(x)[0] ** power + more["shift"]}


@pytest.fixture
def loaded():
    """What is told of programs that are read from the disk."""
    seen = []

    def listen(event, **_):
        if event == LOADED:
            seen.append(event)

    jax.monitoring.register_event_listener(listen)
    yield seen
    jax.monitoring.unregister_event_listener(listen)


def called(folder, power=2, chosen=None, **changes):
    arguments = {**ARGUMENTS, **changes, "power": power, "chosen": chosen}
    return Store(folder).call(roots, arguments, ("power", "chosen"))["roots"]


def test_what_one_store_compiled_another_reads(tmp_path, loaded):
    np.testing.assert_allclose(called(tmp_path), [2, 10], rtol=1e-6)  # 1 and 3, squared, and 1
    assert loaded == []
    np.testing.assert_allclose(called(tmp_path), [2, 10], rtol=1e-6)
    np.testing.assert_allclose(called(tmp_path, more={"shift": 5}), [6, 14], rtol=1e-6)
    assert loaded == [LOADED, LOADED]
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("roots-")


def test_another_type_structure_or_static_argument_is_another_program(tmp_path, loaded):
    called(tmp_path)
    np.testing.assert_allclose(called(tmp_path, power=3), [2, 28], rtol=1e-6)
    np.testing.assert_allclose(called(tmp_path, more={"shift": 1.5}), [2.5, 10.5], rtol=1e-6)
    np.testing.assert_allclose(called(tmp_path, more={"shift": 1, "none": 0}), [2, 10], rtol=1e-6)
    np.testing.assert_allclose(called(tmp_path, x=np.eye(3, dtype=np.float32)), [2, 2, 2], rtol=1e-6)
    called(tmp_path, chosen=wct)
    called(tmp_path, chosen=adain)
    with jax.enable_x64(True):
        np.testing.assert_allclose(called(tmp_path, x=np.float64(ARGUMENTS["x"])), [2, 10], rtol=1e-14)
    assert loaded == []
    assert len([*tmp_path.iterdir()]) == 8


def test_functions_that_are_not_uwcts_are_not_told_apart_and_nothing_is_kept(tmp_path):
    called(tmp_path, chosen=lambda: 0)
    called(tmp_path, chosen=called)
    called(tmp_path, chosen=partial(wct, method="eigh"))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:20], lambda data: b"", lambda data: data[::-1]]
)
def test_a_file_that_is_not_whole_is_written_anew(tmp_path, loaded, damage):
    called(tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    np.testing.assert_allclose(called(tmp_path), [2, 10], rtol=1e-6)
    assert loaded == []
    called(tmp_path)
    assert loaded == [LOADED]
    assert [*tmp_path.iterdir()] == [file]


def test_where_nothing_can_be_written_it_computes_and_says_so_once(tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    np.testing.assert_allclose(called(tmp_path / "file"), [2, 10], rtol=1e-6)
    np.testing.assert_allclose(called(tmp_path / "file", power=3), [2, 28], rtol=1e-6)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"what was compiled cannot be kept for the next start: {tmp_path / 'file'}: File exists"


def test_what_jax_cannot_serialize_is_not_kept(tmp_path, monkeypatch, capsys):
    def refuse(compiled):
        raise jax.errors.JaxRuntimeError("UNIMPLEMENTED")

    monkeypatch.setattr(stored.serialize_executable, "serialize", refuse)
    np.testing.assert_allclose(called(tmp_path), [2, 10], rtol=1e-6)
    assert [*tmp_path.iterdir()] == []
    assert capsys.readouterr().err == ""


def test_two_threads_may_write_one_program(tmp_path, monkeypatch):
    compiled, path, replace = roots.lower(**ARGUMENTS, power=2).compile(), tmp_path / "a.program", os.replace

    def after_another(source, target):
        monkeypatch.setattr(os, "replace", replace)
        stored._write(path, compiled)
        replace(source, target)

    monkeypatch.setattr(os, "replace", after_another)
    stored._write(path, compiled)
    assert [*tmp_path.iterdir()] == [path]


@pytest.fixture
def described():
    """What programs depend on, found out anew, now and for the tests after this."""
    yield lambda: stored.basis.__wrapped__()
    stored.basis.cache_clear()


def test_they_depend_on_sources_settings_versions_and_processor(tmp_path, monkeypatch, described):
    before = described()
    assert described() == before
    seen = {before}

    def check():
        assert described() not in seen
        seen.add(described())

    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    check()
    monkeypatch.setenv("JAX_DEFAULT_MATMUL_PRECISION", "float32")
    check()
    monkeypatch.setattr(jax, "__version__", "0.0")
    check()
    monkeypatch.setenv("NPROC", "1")  # XLA's programs are for as many threads
    check()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(1000), raising=False)  # as `taskset` says
    check()
    monkeypatch.setattr(stored, "_processor", lambda: ("other",))
    check()
    monkeypatch.setattr(stored, "PACKAGE", tmp_path)
    check()
    (tmp_path / "of").mkdir()
    (tmp_path / "of" / "uwct.py").write_text("1")
    check()
    (tmp_path / "of" / "uwct.py").write_text("2")
    check()


def test_what_replaces_the_sources_later_is_not_what_the_programs_are_of(tmp_path, monkeypatch, described):
    """`uwct web` may be updated before its first picture, which it paints as it was when it started."""
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(stored, "PACKAGE", tmp_path)
    stored.basis.cache_clear()
    cache.start_quickly()
    started = described()
    (tmp_path / "new.py").write_text("1")
    assert stored.basis() == started != described()


@pytest.mark.parametrize(("place", "kept"), [("gs://bucket/uwct", 0), ("file:///tmp/uwct", 0), ("/tmp/uwct", 1)])
def test_nothing_is_kept_on_servers(monkeypatch, described, place, kept):
    seen = []
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(cache, "keep_by", seen.append)
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", place)
        cache.start_quickly()
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert len(seen) == kept


@pytest.mark.parametrize("searched", [jax.debug_nans, jax.debug_infs])
def test_nothing_is_kept_where_jax_looks_for_what_is_not_finite(monkeypatch, described, searched):
    """In a program that it has not traced it raises what is no FloatingPointError, and names no operation."""
    seen = []
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(cache, "keep_by", seen.append)
    with searched(True):
        cache.start_quickly()
    assert seen == []


def test_jaxs_cache_neither_gives_nor_gets_them(tmp_path, loaded):
    """What it gives, written again, crashes when it is read."""

    @jax.jit
    def doubled_here_alone(x):  # by its name, since other tests fill that cache at the same time
        return 2 * x

    def call():
        return Store(tmp_path).call(doubled_here_alone, {"x": np.float32([1, 2])}, ()).tolist()

    place = Path(jax.config.jax_compilation_cache_dir)
    assert call() == [2, 4]
    assert [*place.glob("jit_doubled_here_alone-*")] == []
    doubled_here_alone(np.float32([1, 2]))
    assert [*place.glob("jit_doubled_here_alone-*-cache")] != []
    (file,) = tmp_path.iterdir()
    file.unlink()
    assert call() == call() == [2, 4]
    assert loaded == [LOADED]
    assert jax.config.jax_enable_compilation_cache


def test_what_jax_has_of_its_cache_in_memory_is_compiled_anew(tmp_path):
    for _ in range(2):  # what is compiled at the first time comes from JAX's cache at the second
        roots.clear_cache()
        roots(**ARGUMENTS, power=5, chosen=None)
    expected = [2, 244]  # 1 and 3 to the fifth, and 1
    np.testing.assert_allclose(called(tmp_path, power=5), expected, rtol=1e-6)
    np.testing.assert_allclose(called(tmp_path, power=5), expected, rtol=1e-6)


def test_programs_are_kept_where_they_stand_alone_on_one_device(monkeypatch):
    seen = []

    class Keeper:
        def call(self, jitted, arguments, static):
            seen.append((arguments, static))

    monkeypatch.setattr(programs, "_keeper", Keeper)
    twice = quick_jit("times")(lambda x, times: times * x)
    x = np.ones(2)
    assert twice(x, 2).tolist() == [2, 2]  # there are two
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert jax.vmap(partial(twice, times=2))(x).tolist() == [2, 2]
    with jax.disable_jit():
        assert twice(x, 2).tolist() == [2, 2]
    assert seen == []
    twice(x, times=2)
    twice(x, 3)
    assert seen == [({"x": x, "times": 2}, ("times",)), ({"x": x, "times": 3}, ("times",))]


SHAPES = {"x": jax.ShapeDtypeStruct((2, 2), np.float32), "more": {"shift": 1}}


def test_of_shapes_it_gives_shapes_and_compiles_or_reads(tmp_path, loaded):
    for expected in ([], [LOADED]):
        store = Store(tmp_path)
        found = store.call(roots, {**SHAPES, "power": 2}, ("power",))["roots"]
        assert isinstance(found, jax.ShapeDtypeStruct)
        assert (found.shape, found.dtype) == ((2,), np.float32)
        np.testing.assert_allclose(store.call(roots, {**ARGUMENTS, "power": 2}, ("power",))["roots"], [2, 10])
        assert loaded == expected
        assert len([*tmp_path.iterdir()]) == 1


def test_what_is_expected_is_compiled_with_the_first_that_is_missing(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(stored, "_compile", lambda lowered, path: seen.append(path.name) or lowered.compile())
    store, walks = Store(tmp_path), []

    def walk():
        walks.append(None)
        for power in (2, 3, 4):
            store.call(roots, {**SHAPES, "power": power}, ("power",))

    def call(power):
        return store.call(roots, {**ARGUMENTS, "power": power}, ("power",))["roots"]

    call(2)
    with store.expecting(walk):
        call(2)
        assert walks == []  # nothing is missing
        np.testing.assert_allclose(call(3), [2, 28], rtol=1e-6)
        np.testing.assert_allclose(call(4), [2, 82], rtol=1e-6)
        call(5)
    call(6)
    assert walks == [None]
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize("ended", [KeyboardInterrupt, Terminated, SystemExit])
def test_after_a_signal_nothing_is_compiled_that_nobody_wants(tmp_path, monkeypatch, ended):
    started, all_wanted, over = [], threading.Event(), threading.Event()

    def interrupted(lowered, path):
        started.append(path)
        if len(started) == 1:
            all_wanted.wait()
            raise ended
        over.wait()

    monkeypatch.setattr(stored, "MOST_THREADS", 1)
    monkeypatch.setattr(stored, "_compile", interrupted)
    store = Store(tmp_path)

    def walk():
        for power in (2, 3, 4):
            store.call(roots, {**SHAPES, "power": power}, ("power",))
        all_wanted.set()

    with pytest.raises(ended), store.expecting(walk):
        store.call(roots, {**ARGUMENTS, "power": 2}, ("power",))
    over.set()
    monkeypatch.undo()
    np.testing.assert_allclose(store.call(roots, {**ARGUMENTS, "power": 3}, ("power",))["roots"], [2, 28], rtol=1e-6)
    assert len(started) <= 2  # of three; the second may have been taken up before the first was looked at


WANTED = {"picture": {"_layer"}, "manners": {"_manner"}, "refinement": {"shapes_of", "_step"}}


@pytest.mark.parametrize("of", WANTED)
def test_what_computes_long_is_foreseen(tmp_path, monkeypatch, tiny_model, tiny_vgg, of):
    """All of it is begun to be compiled before the first of it has run."""
    store, seen = Store(tmp_path), []

    class Keeper:
        expecting = store.expecting

        def call(self, jitted, arguments, static):
            shapes = any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(arguments))
            found = store.call(jitted, arguments, static)
            seen.append((jitted.__name__, shapes))
            return found

    rgb = jnp.asarray(picture(40, 56))
    style = with_manners(encode_style(tiny_model, rgb), tiny_vgg, rgb)
    parts = resolve(tiny_model, style, (3, 1), 0.6)
    monkeypatch.setattr(programs, "_keeper", Keeper)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    if of == "picture":
        stylize(tiny_model, rgb, style, (3, 1))
    elif of == "manners":
        with_manners(style, tiny_vgg, rgb)
    else:
        refined(tiny_vgg, rgb, rgb, parts, (3, 1), 4)
    order = [shapes for name, shapes in seen if name in WANTED[of]]
    foreseen = order.index(False)
    assert all(order[:foreseen])
    assert not any(order[foreseen:])
    assert foreseen >= 2 * len(WANTED[of])


def test_what_could_not_be_compiled_is_tried_again(tmp_path, monkeypatch):
    def refuse(lowered, path):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")

    store = Store(tmp_path)
    monkeypatch.setattr(stored, "_compile", refuse)
    with pytest.raises(jax.errors.JaxRuntimeError):
        store.call(roots, {**ARGUMENTS, "power": 2}, ("power",))
    monkeypatch.undo()
    np.testing.assert_allclose(store.call(roots, {**ARGUMENTS, "power": 2}, ("power",))["roots"], [2, 10], rtol=1e-6)


def test_forgotten_in_memory_they_are_read_again(tmp_path, monkeypatch, loaded):
    def call():
        cache.store_in(str(tmp_path)).call(roots, {**ARGUMENTS, "power": 2}, ("power",))

    call()
    call()
    assert loaded == []
    monkeypatch.setattr(cache, "_in_memory", cache.MOST_PROGRAMS + 1)
    monkeypatch.setattr(cache, "trim", lambda: None)
    cache.make_room()
    call()
    assert loaded == [LOADED]


PAINT = """
import collections, json, sys
import jax
from uwct.cli import stylize, watching
from uwct.networks.model import load
watching.backbone = lambda name: load("tiny.safetensors")  # that of VGG-16 would be slow
seen = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: seen.update([event]))
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: seen.update([event]))
for number, words in enumerate(json.loads(sys.argv[1])):
    styles = ["a.png"] if "--patches" in words else ["a.png", "b.png"]
    stylize.main(["--content", "photo.jpg", "--style", *styles, *words, "--output", f"{number}.png"])
print(json.dumps(seen))
"""
LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"


def test_a_later_command_lowers_next_to_nothing_and_paints_the_same(folder):
    every = [["--transform", name] for name in ("wct", "adain", "monge", "whiten")]
    Image.fromarray(np.uint8(255 * np.eye(21, 33))).save("mask.png")
    Image.fromarray(np.uint8(255 * np.ones((21, 33, 4)))).save("seen.png")
    every += [["--region", "mask.png", "a.png"], ["--region", "mask.png"], ["--content", "seen.png"]]
    every += [["--refine", "--refine-steps", "2"], ["--size", "96", "--patches"]]
    every = [[*words, "--model", "tiny.safetensors", "--levels", "3", "1"] for words in every]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"), "TQDM_DISABLE": "1"}

    def painted(**changes):
        done = subprocess.run(
            [sys.executable, "-c", PAINT, json.dumps(every)],
            env=environment | changes,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return json.loads(done.stdout.splitlines()[-1]), [Path(f"{i}.png").read_bytes() for i in range(len(every))]

    first, pictures = painted()
    kept = len([*Path("cache").glob("*.program")])
    assert kept > 15
    assert LOADED not in first
    assert first[LOWERED] <= kept + 3  # nearly all is kept
    second, again = painted()
    assert again == pictures
    assert second[LOADED] == kept
    assert second[LOWERED] <= first[LOWERED] - kept + 1  # and one that loads LAPACK
    Path("cache").rename("before")
    third, plain = painted(JAX_ENABLE_COMPILATION_CACHE="false")
    assert plain == pictures
    assert third[LOWERED] == first[LOWERED]
    assert not Path("cache").exists()
