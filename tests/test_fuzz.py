"""Broken files and words of all kinds: one sentence, never a traceback, a hang, or more memory than is stated.

UWCT_FUZZ=10000 tries so many of each, and others at every run; without it they are few, and always the same.
"""

import dataclasses
import io
import json
import os
import struct
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import get_type_hints

import jax
import numpy as np
import pytest
import torch
from bad_inputs import ROWS, png
from conftest import TINY, picture
from foreign import decoder, encoder, t7
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import uwct
from uwct.cli import augment, convert, evaluate, grid, inspect, style, stylize, texture
from uwct.convert.collection import open_sources
from uwct.datasets import stylizer
from uwct.networks.model import Model, load, save
from uwct.pictures import bounds, images, strips
from uwct.pipeline import compat, style_pool, windows
from uwct.pipeline import whole as walker

TRIES = int(os.environ.get("UWCT_FUZZ", "0"))


def fuzzed(few):
    """So many examples, or as many as UWCT_FUZZ says."""
    return settings(
        max_examples=TRIES or few,
        derandomize=not TRIES,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@st.composite
def broken(draw, files):
    """A whole file with some of its bytes replaced, cut out, repeated, or cut off."""
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 4))):
        # Mostly within the first bytes, where formats keep what they claim.
        at = draw(st.integers(0, min(len(data), 128)) | st.integers(0, len(data)))
        piece = draw(st.binary(min_size=1, max_size=8) | st.sampled_from(EXTREMES))
        change = draw(st.sampled_from(["replace", "insert", "delete", "cut", "repeat"]))
        if change == "replace":
            data[at : at + len(piece)] = piece
        elif change == "insert":
            data[at:at] = piece
        elif change == "delete":
            del data[at : at + draw(st.integers(1, 64))]
        elif change == "cut":
            del data[at:]
        else:
            data[at:at] = data[at : at + 64] * draw(st.integers(1, 20))
    return bytes(data)


EXTREMES = [struct.pack(order + kind, value) for order in "<>" for kind, values in (
    ("H", (0, 1, 0x7FFF, 0xFFFF)), ("I", (0, 1, 2**31 - 1, 2**32 - 1)), ("Q", (2**60, 2**64 - 1)),
) for value in values]  # fmt: skip


def encoded(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def pictures():
    rgb = Image.fromarray(np.uint8(255 * picture(12, 20)))
    exif = Image.Exif()
    exif[274] = 6
    kinds = [("PNG", {}), ("JPEG", {"exif": exif}), ("JPEG", {"progressive": True}), ("WEBP", {"lossless": True})]
    kinds += [("TIFF", {"compression": c}) for c in (None, "tiff_lzw", "jpeg", "tiff_adobe_deflate")]
    kinds += [("GIF", {}), ("BMP", {}), ("PPM", {}), ("JPEG2000", {})]
    files = [encoded(rgb, kind, **options) for kind, options in kinds]
    files += [encoded(rgb.convert(mode), "PNG", icc_profile=b"none") for mode in ("1", "L", "LA", "P", "RGBA", "I;16")]
    files += [encoded(rgb.convert(mode), "TIFF") for mode in ("CMYK", "LAB", "F", "I;16")]
    return [*files, encoded(rgb.convert("P"), "PNG", transparency=bytes(range(256)))]


@contextmanager
def refusals(name):
    """A ValueError within it is fine if it names the file."""
    try:
        yield
    except ValueError as error:
        if name not in str(error):
            raise AssertionError(f"{error} does not name {name}") from error


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@fuzzed(250)
@given(data=broken(pictures()))
def test_broken_pictures_are_read_or_refused(data):
    with bounds.pixel_limit(10**6), refusals("the file"):
        found = images.decode(data, "the file")
        assert found.rgb.dtype == np.float32
        assert found.rgb.size <= 3 * 10**6
        assert 0 <= found.rgb.min() <= found.rgb.max() <= 1


@fuzzed(60)
@given(data=broken(pictures()))
def test_broken_pictures_are_read_or_refused_by_strips(data, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    with bounds.pixel_limit(10**6), refusals(str(path)):
        shape = images.upright_shape(path)
        found = strips.read(path, tmp_path)
        assert found.rgb.shape[:2] == shape
        values = found.rgb.read(slice(None))
        assert 0 <= values.min() <= values.max() <= 1


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([2**63, -1, 1e400, "", "F32", "config"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def lying(draw, data):
    """A safetensors file with its header or its metadata changed, or with broken bytes."""
    if draw(st.integers(0, 3)) == 0:
        return draw(broken([data]))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = draw(st.sampled_from(sorted(header)))
    if name == "__metadata__" or draw(st.booleans()):
        metadata = header["__metadata__"]
        key = draw(st.sampled_from(sorted(metadata)))
        inside = json.loads(metadata[key])
        inside[draw(st.sampled_from(sorted(inside)))] = draw(JUNK)
        metadata[key] = json.dumps(inside) if draw(st.integers(0, 4)) else json.dumps(draw(JUNK))
    elif draw(st.booleans()):
        header[name][draw(st.sampled_from(["dtype", "shape", "data_offsets"]))] = draw(JUNK)
    else:
        header[draw(st.text(max_size=9))] = header.pop(name)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


@pytest.fixture(scope="module")
def whole(tiny_model, tmp_path_factory):
    """The bytes of a model and of one of its styles."""
    folder = tmp_path_factory.mktemp("whole")
    small = dataclasses.replace(TINY, blocks=TINY.blocks[:1])
    params = {name: tiny_model.params[name] for name in ("encoder", "decoder1")}
    params["encoder"] = {name: value for name, value in params["encoder"].items() if name == "conv1_1"}
    style = uwct.encode_style(tiny_model, picture(24, 24))
    save(Model(params, dataclasses.replace(small, blocks=((8,),))), folder / "m")
    uwct.save_style(style, folder / "s", tiny_model)
    return (folder / "m").read_bytes(), (folder / "s").read_bytes()


@fuzzed(60)
@given(choice=st.data())
def test_models_that_lie_are_refused_or_are_models(choice, whole, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(choice.draw(lying(whole[0])))
    with suppress(ValueError):
        model = load(path)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(model.params))
    with suppress(ValueError):
        assert inspect.description(str(path))


@fuzzed(60)
@given(choice=st.data())
def test_styles_that_lie_are_refused_or_are_styles(choice, whole, tmp_path, tiny_model):
    path = tmp_path / "s.safetensors"
    path.write_bytes(choice.draw(lying(whole[1])))
    with suppress(ValueError):
        found = uwct.load_style(path, tiny_model)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    with suppress(ValueError):
        assert style.description(path)


def foreign_files():
    found = []
    for zipped in (True, False):
        data = io.BytesIO()
        torch.save(encoder("vgg19", 2).state_dict(), data, _use_new_zipfile_serialization=zipped)
        found.append(data.getvalue())
    return [*found, t7(encoder("vgg19", 2)), t7(decoder("vgg19", 1), text=True)]


@fuzzed(100)
@given(data=broken(foreign_files()))
def test_broken_weights_are_refused_or_are_weights(data, tmp_path, capfd):
    path = tmp_path / "file"
    path.write_bytes(data)
    with refusals(str(path)), np.errstate(all="ignore"):
        for network in open_sources([path])[0].networks:
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(network.params))
    assert capfd.readouterr().err == ""


NUMBERS = ["0", "1", "2", "16", "33", "-1", "0.5", "1.5", "nan", "inf", "1e-300", "1e400", str(2**31), "9" * 40, "0x10"]
NAMES = [
    "photo.jpg",
    "a.png",
    "b.png",
    "tiny.safetensors",
    "s.safetensors",
    "bad.png",
    "none",
    ".",
    "-",
    "out",
    "/dev/zero",
]
NAMES += [
    "",
    "a.png:2",
    "photo.jpg:ff0000",
    "out.png",
    "out.jpg",
    "a" * 300,
    "\udcff.png",
    "wct",
    "auto",
    "ceil",
    "0/2",
]
COMMANDS = {
    stylize: ["--content", "photo.jpg", "--style", "a.png"],
    texture: ["--style", "a.png", "--shape", "9", "5"],
    grid: ["--contents", "photo.jpg", "--styles", "a.png"],
    evaluate: ["--contents", ".", "--styles", "."],
    augment: [".", "out", "--styles", "."],
    convert: ["a.png", "--output", "out.safetensors"],
    inspect: [],
}


def names_of(arguments):
    """The names of all options of a dataclass, of those that it is composed of too."""
    found = []
    for name, kind in get_type_hints(arguments).items():
        found += names_of(kind) if dataclasses.is_dataclass(kind) else [name]
    return found


@st.composite
def words(draw):
    """A command and words for it: some of its options, each with some values."""
    command = draw(st.sampled_from([*COMMANDS, style]))
    value = st.sampled_from(NUMBERS + NAMES) | st.text(st.characters(exclude_characters="/\0"), max_size=4)
    if command is style:
        return command, [draw(st.sampled_from(["save", "mix", "info", "none"])), *draw(st.lists(value, max_size=4))]
    options = [f"--{name.replace('_', '-')}" for name in names_of(command.Arguments) if name != "model"] or ["--none"]
    chosen = draw(st.lists(st.tuples(st.sampled_from(options), st.lists(value, max_size=3)), max_size=4))
    model = (
        ["--model", draw(st.sampled_from(["tiny.safetensors"] * 8 + NAMES))]
        if command not in (convert, inspect)
        else []
    )
    extra = [word for option, values in chosen for word in (option, *values)]
    return command, [*COMMANDS[command], *model, *extra, *(draw(st.lists(value, max_size=1)) if not chosen else [])]


@pytest.fixture
def without_networks(folder, tiny_model, monkeypatch):
    """A folder to work in; what networks would compute is not."""
    found = uwct.encode_style(tiny_model, picture(24, 24))
    uwct.save_style(found, "s.safetensors", tiny_model)
    Path("bad.png").write_bytes(png(40_000, 40_000))
    Path("out").mkdir()

    def same(model, content, *rest, **how):
        return content

    for module, name in ((walker, "painted"), (compat, "stylize")):
        monkeypatch.setattr(module, name, same)
    monkeypatch.setattr(windows, "stages", lambda model, content, parts, settings, **how: [(1, content)])
    monkeypatch.setattr(style_pool, "encode_style", lambda *rest, **how: found)
    monkeypatch.setattr(texture, "synthesize", lambda model, styles, shape, *rest, **how: np.zeros((*shape, 3)))
    monkeypatch.setattr(stylizer, "as_drawn_on_canvas", lambda model, canvas, *rest: canvas)
    monkeypatch.setattr(evaluate, "evaluate", lambda arguments: arguments.look.resolve() and [])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("photo.jpg").read_bytes())))
    return folder


@fuzzed(150)
@given(choice=words())
def test_commands_end_without_a_traceback(choice, without_networks, capfd):
    command, rest = choice
    code = 0
    try:
        command.main(rest)
    except SystemExit as stop:
        code = stop.code
    error = capfd.readouterr().err
    assert code in (0, 1, 2)
    assert code == 0 or error
    assert "Traceback" not in error


MEASURED = """
import os, resource, sys
from pathlib import Path
import h5py, pyvips, torch
from uwct.pictures import bounds
from uwct.pictures import images
from uwct.networks import model
from uwct.pictures import strips
from uwct.convert import collection
from uwct.networks.tensors import read_file

def read(path):
    if path.suffix in (".pth", ".t7", ".h5"):
        collection.open_sources([path])
    elif path.suffix == ".safetensors":
        read_file(path)
    else:
        images.read(path)

pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
with bounds.pixel_limit(10**6):
    for path in sorted(Path().glob("bad*")):
        try:
            read(path)
        except (ValueError, OSError):
            print(path)
"""


def test_no_file_takes_more_memory_than_is_stated(stranger):
    """The limit is 48 bytes for each of a million pixels, and as much again to work in."""
    for number, row in enumerate(row for rows in ROWS.values() for row in rows if "bad." in row.words):
        row.make()
        for path in Path().glob("bad.*"):
            if path.is_file():
                path.rename(f"bad{number}{path.suffix}")
            else:  # the pipe
                path.unlink()
    Path("bad2.png").write_bytes(png(1000, 1000))
    Path("bad3.tif").write_bytes(encoded(Image.new("RGB", (1001, 1000)), "TIFF", compression="tiff_lzw"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURED, str(96 * 10**6)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {"bad2.png", "bad3.tif"} < set(done.stdout.split())
    assert len(done.stdout.split()) > 40
