"""The command fetch, from a local server with small networks at the public paths."""

import hashlib
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import torch
from conftest import HEED_SIGINT, picture
from foreign import convolutions, decoder, encoder, named, run, vgg_names
from mirror import PART, serving
from PIL import Image

from uwct import load
from uwct.cli import fetch, inspect
from uwct.networks import published
from uwct.networks.config import LEVELS
from uwct.networks.model import WEIGHTS

X = picture(32, 32)


def network(model, part):
    """What stands for a published network, and the state dict that is published of it."""
    level = int(part[-1])
    if model == "vgg19":
        net = encoder("vgg19", whole=True, first=False, padding=False)
        return net, net.state_dict()
    net = {"encoder": encoder, "decoder": decoder}[part[:-1]]("vgg19", level, seed=level)
    if model == "authors":
        return net, net.state_dict()
    names = [f"conv{name.replace('_', '')}" for name in vgg_names("vgg19", level)]
    return net, named(net, ["conv0", *names] if part.startswith("encoder") else names[::-1])


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """{(model, part): the bytes of its file}."""
    path, found = tmp_path_factory.mktemp("published") / "net.pth", {}
    for model in published.NAMES:
        for file in published.files(model):
            torch.save(network(model, file.part)[1], path)
            found[model, file.part] = path.read_bytes()
    return found


@pytest.fixture
def server(tmp_path, monkeypatch, contents):
    """Those files at the places of the real ones, in a working directory with data and cache folders of its own."""
    monkeypatch.chdir(tmp_path)
    for kind in ("data", "cache"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / kind))
    monkeypatch.setattr("uwct.convert.fetch.TRIES", 1)
    files, lines = {}, ["model\tpart\tpath\tgit_blob_sha1\tbytes\tsha256"]
    for (model, part), content in contents.items():
        (file,) = (file for file in published.files(model) if file.part == part)
        files[f"/{file.place}"] = content
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        # As in the real table, of the authors' levels 4 and 5 no more than git's hash is known.
        known = (
            ["-", "-"] if model == "authors" and file.level > 3 else [len(content), hashlib.sha256(content).hexdigest()]
        )
        path = file.place.removeprefix(published.MODELS[model].folder)
        lines.append("\t".join(map(str, (model, part, path, blob, *known))))
    (tmp_path / "table.tsv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(published, "TABLE", tmp_path / "table.tsv")
    with serving(files, monkeypatch) as mirror:
        yield mirror


def fails(capsys, command, *arguments):
    with pytest.raises(SystemExit) as stop:
        command.main(list(arguments))
    error = capsys.readouterr().err.rpartition("\r")[2]  # after the progress bar
    assert stop.value.code == 2
    assert error.count("\n") == 1
    return error


def left(folder, kind):
    """All files that the command left among data or cache."""
    return {path.name for path in (folder / kind).rglob("*") if path.is_file()}


def names(model, *levels):
    return [file.name for file in published.files(model, levels)]


@pytest.mark.parametrize("model", ["authors", "collaborative-distillation"])
def test_published_networks_are_downloaded_converted_and_named(server, tmp_path, capsys, model):
    assert f"uwct fetch {model} brings it" in fails(capsys, inspect, model)
    fetch.main([model, "--url", server.url])
    assert f"{model} is ready, in {tmp_path / 'data'}" in capsys.readouterr().out
    found = load(model)
    assert found.config.backbone == model
    assert found.levels == LEVELS
    for level in (1, 4):
        features = run(network(model, f"encoder{level}")[0], X)
        np.testing.assert_allclose(found.encode(X, level)[-1], features, rtol=1e-4, atol=1e-4)
        back = run(network(model, f"decoder{level}")[0], features)
        back = np.maximum(back, 0) if model == "collaborative-distillation" else back
        np.testing.assert_allclose(found.decode(features, level), back, rtol=1e-4, atol=1e-4)
    assert server.downloads() == [f"/{file.place}" for file in published.files(model)]
    assert left(tmp_path, "data") == {f"{model}.safetensors"}
    assert left(tmp_path, "cache") == set()


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("vgg19", ("Simonyan", "licence: CC BY 4.0")),
        ("authors", ("Yijun Li", "NIPS 2017", "deep-transfer", "licence: MIT", "Apache 2.0", "CC BY 4.0")),
        ("collaborative-distillation", ("Huan Wang", "CVPR 2020", "licence: MIT, copyright 2020 Huan Wang")),
    ],
)
def test_whose_it_is_and_on_what_terms_is_said(server, capsys, model, parts):
    fetch.main([model, "--url", server.url])
    text = capsys.readouterr().out
    for part in parts:
        assert part in text
    fetch.main([model, "--url", server.url])
    again = capsys.readouterr().out
    assert again == text.replace("is ready", "is there already")


def test_what_was_fetched_is_not_fetched_again(server, tmp_path):
    fetch.main(["authors", "--levels", "1", "3", "--url", server.url])
    assert load("authors").levels == (1, 3)
    with pytest.raises(ValueError, match="uwct fetch authors brings published ones"):
        load("authors").check_levels((2,))
    assert left(tmp_path, "cache") == set(names("authors", 1, 3))
    server.asked.clear()
    fetch.main(["authors", "--levels", "3", "--url", server.url])
    assert server.asked == []
    fetch.main(["authors", "--levels", "2", "--url", server.url])
    assert load("authors").levels == (1, 2, 3)
    assert server.downloads() == [f"/{file.place}" for file in published.files("authors", [2])]
    server.asked.clear()
    fetch.main(["authors", "--url", server.url])
    assert load("authors").levels == LEVELS
    assert server.downloads() == [f"/{file.place}" for file in published.files("authors", [4, 5])]
    assert left(tmp_path, "cache") == set()


def test_a_model_that_was_damaged_is_fetched_again(server, tmp_path):
    fetch.main(["collaborative-distillation", "--url", server.url])
    path = tmp_path / "data" / "uwct" / "collaborative-distillation.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    fetch.main(["collaborative-distillation", "--url", server.url])
    assert load("collaborative-distillation").levels == LEVELS


def test_a_download_that_broke_off_goes_on(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mirror.PART", 1000)
    monkeypatch.setattr("uwct.convert.fetch.CHUNK", 500)  # what is not a whole chunk is lost
    server.mood = "breaks"
    words = ["authors", "--levels", "1", "--url", server.url]
    error = fails(capsys, fetch, *words)
    assert "it broke off after 1000 of" in error
    assert "1000 bytes are kept, run it again to go on" in error
    first, second = published.files("authors", [1])
    assert left(tmp_path, "cache") == {f"{first.name}.part"}
    server.mood = "well"
    server.asked.clear()
    fetch.main(words)
    assert server.asked == [("GET", f"/{first.place}", "bytes=1000-"), ("GET", f"/{second.place}", None)]
    assert load("authors").levels == (1,)


def test_a_wrong_file_is_refused_and_removed_and_the_right_ones_are_kept(server, tmp_path, capsys):
    place = f"/{published.files('authors', [4])[1].place}"
    server.files[place], right = server.files[place][::-1], server.files[place]
    error = fails(capsys, fetch, "authors", "--levels", "4", "--url", server.url)
    assert f"{server.url}{place} is not the file that was expected" in error
    assert left(tmp_path, "cache") == {names("authors", 4)[0]}
    assert left(tmp_path, "data") == set()
    server.files[place] = right
    server.asked.clear()
    fetch.main(["authors", "--levels", "4", "--url", server.url])
    assert server.downloads() == [place]


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("vgg19", "bring the file yourself: --file vgg19-dcbb9e9d.pth"),
        ("authors", "bring a copy of https://github.com/pietrocarbo/deep-transfer yourself: --file FOLDER"),
    ],
)
def test_what_cannot_be_had_is_said_with_what_else_to_do(server, tmp_path, capsys, model, hint):
    error = fails(capsys, fetch, model, "--url", "http://127.0.0.1:1")
    assert f"cannot be had: Connection refused; try again later, or {hint}" in error
    server.mood = "absent"
    error = fails(capsys, fetch, model, "--url", server.url)
    assert f"cannot be had: the server answered 404 Not Found; try again later, or {hint}" in error
    assert left(tmp_path, "cache") == left(tmp_path, "data") == set()


def test_an_interrupt_leaves_the_part_and_nothing_else(server, tmp_path):
    content = bytes(range(256)) * 4000
    place, table = f"/{published.files('vgg19')[0].place}", published.TABLE.read_text().splitlines()
    server.files[place] = content
    row = f"vgg19\tencoder5\tmodels/vgg19-dcbb9e9d.pth\t-\t{len(content)}\t{hashlib.sha256(content).hexdigest()}"
    published.TABLE.write_text("\n".join([table[0], row]) + "\n")
    server.mood = "stalls"
    program = (
        HEED_SIGINT + "import pathlib, sys; from uwct.networks import published; from uwct.cli import fetch; "
        "published.TABLE = pathlib.Path('table.tsv'); fetch.main(sys.argv[1:])"
    )
    words = [sys.executable, "-c", program, "vgg19", "--url", server.url]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert server.stalled.wait(120)
    part = tmp_path / "cache" / "uwct" / "vgg19" / "vgg19-dcbb9e9d.pth.part"
    while process.poll() is None and not (part.exists() and part.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT
    assert error.rpartition("\r")[2] == "interrupted\n"
    assert left(tmp_path, "cache") == {part.name}
    assert content.startswith(part.read_bytes())
    assert 0 < part.stat().st_size <= PART
    assert left(tmp_path, "data") == set()


def test_files_that_are_there_are_used_whatever_they_are_called(server, tmp_path, capsys):
    for file in published.files("authors", [1, 2]):
        path = tmp_path / "mine" / "deep" / f"{file.part}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(server.files[f"/{file.place}"])
    (tmp_path / "mine" / "deep" / "decoder2.bin").rename(tmp_path / "decoder2.bin")
    error = fails(capsys, fetch, "authors", "--levels", "1", "2", "--file", "mine")
    assert "decoder2 (feature_invertor_conv2_1.pth); --levels 1 takes what is there" in error
    assert "encoder" not in error.removeprefix("error: mine lacks files")
    fetch.main(["authors", "--levels", "1", "--file", "mine"])
    assert load("authors").levels == (1,)
    assert server.asked == []
    fetch.main(["authors", "--levels", "2", "--url", server.url])  # encoder2 was taken from there
    assert server.downloads() == [f"/{published.files('authors', [2])[1].place}"]
    assert len(list((tmp_path / "mine").rglob("*.bin"))) == 3


def test_vgg19_from_a_file_is_found_by_its_name(server, tmp_path, capsys, contents):
    (tmp_path / "mine.pth").write_bytes(contents["vgg19", "encoder5"])
    fetch.main(["vgg19", "--file", "mine.pth"])
    assert "vgg19 is ready" in capsys.readouterr().out
    assert (tmp_path / "mine.pth").exists()
    model = load("vgg19")
    assert model.config.backbone == "vgg19"
    assert model.config.normalised
    assert min(model.config.variances) > 0
    photographs = [np.asarray(Image.open(p)) / np.float32(255) for p in sorted((WEIGHTS / "photographs").iterdir())]
    mean = np.asarray(model.encode(np.stack(photographs))[2]).mean((0, 1, 2))
    np.testing.assert_allclose(mean[mean > 0], 1, rtol=1e-2)
    with pytest.raises(ValueError, match="--backbone vgg19 --levels 4; uwct convert takes published ones"):
        model.check_levels((4,))


def test_keras_serves_as_well(server):
    net, _ = network("vgg19", "encoder5")
    with h5py.File("keras.h5", "w") as file:
        for name, layer in zip(vgg_names("vgg19"), convolutions(net), strict=True):
            group = file.create_group(f"block{name[0]}_conv{name[2]}")
            group["kernel:0"] = layer.weight.detach().numpy().transpose(2, 3, 1, 0)
            group["bias:0"] = layer.bias.detach().numpy()
    fetch.main(["vgg19", "--file", "keras.h5"])
    assert load("vgg19").config.backbone == "vgg19"


def test_another_network_is_not_vgg19(server, tmp_path, capsys):
    torch.save(encoder("vgg16", whole=True, first=False, padding=False).state_dict(), "other.pth")
    assert "holds torchvision's VGG-16, not VGG-19" in fails(capsys, fetch, "vgg19", "--file", "other.pth")
    assert left(tmp_path, "data") == set()


def test_vgg19_is_downloaded_and_what_is_not_kept_is_removed(server, tmp_path):
    fetch.main(["vgg19", "--url", server.url])
    assert load("vgg19").config.normalised
    assert server.downloads() == ["/models/vgg19-dcbb9e9d.pth"]
    assert left(tmp_path, "data") == {"vgg19.safetensors"}
    assert left(tmp_path, "cache") == set()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["authors", "--levels", "6"], "level must be one of 1, 2, 3, 4, 5, not 6"),
        (["authors", "--file", "none"], "there is no folder none of published files"),
        (["authors", "--file", "none", "--url", "http://127.0.0.1:1"], "give one of them"),
        (["authors", "--photographs", "folder:x"], "--photographs is for vgg19"),
        (["vgg19", "--levels", "1"], "--levels is for authors and collaborative-distillation"),
        (["vgg19", "--photographs", "folder:none"], "none"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(server, tmp_path, capsys, words, sentence):
    assert sentence in fails(capsys, fetch, *words)
    assert server.asked == []
    assert left(tmp_path, "data") == set()


def test_the_table_of_published_files_is_whole():
    assert set(published.MODELS) == set(published.NAMES)
    for model in ("authors", "collaborative-distillation"):
        files = published.files(model)
        assert {file.part for file in files} == {f"{kind}{i}" for kind in ("encoder", "decoder") for i in LEVELS}
        assert all(len(bytes.fromhex(file.identity.git_blob)) == 20 for file in files)
    for model in published.NAMES:
        files = published.files(model)
        assert len({file.name for file in files}) == len({file.identity for file in files}) == len(files)
        assert all(len(bytes.fromhex(file.identity.sha256)) in (0, 32) for file in files)
    assert published.has_decoders("authors")
    assert not published.has_decoders("vgg19")
    assert not published.has_decoders("vgg16")
