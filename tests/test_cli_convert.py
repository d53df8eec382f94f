"""The commands convert, fetch and inspect, as people use them."""

import builtins
import hashlib
import shlex
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import h5py
import numpy as np
import pytest
import torch
from conftest import picture
from foreign import convolutions, decoder, encoder, run, t7, vgg_names
from PIL import Image

from uwct import load
from uwct.cli import convert, fetch, inspect, main
from uwct.convert import published
from uwct.networks.config import LEVELS, vgg19
from uwct.networks.model import WEIGHTS

X = picture(32, 32)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A working directory with foreign weights, and data and cache folders of its own."""
    monkeypatch.chdir(tmp_path)
    for kind in ("data", "cache"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path / kind))
    torch.save(encoder("vgg19", 2).state_dict(), "enc.pth")
    torch.save(decoder("vgg19", 2).state_dict(), "dec.pth")
    torch.save(encoder("vgg19", whole=True, first=False, padding=False).state_dict(), "vgg19.pth")
    return tmp_path


def fails(capsys, command, *arguments):
    with pytest.raises(SystemExit) as stop:
        command.main(list(arguments))
    error = capsys.readouterr().err.rpartition("\r")[2]  # after the progress bar
    assert stop.value.code == 2
    assert error.count("\n") == 1
    return error


def test_an_encoder_and_its_decoder_become_a_model(files, capsys):
    convert.main(["enc.pth", "dec.pth", "--output", "m.safetensors"])
    assert "decoders of levels: 2" in capsys.readouterr().out
    model = load("m.safetensors")
    features = run(encoder("vgg19", 2), X)
    np.testing.assert_allclose(model.encode(X, 2)[-1], features, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.decode(features, 2), run(decoder("vgg19", 2), features), rtol=1e-5, atol=1e-5)
    inspect.main(["m.safetensors"])
    text = capsys.readouterr().out
    for part in ("converted-vgg19, not normalised", "4 5 | 6", "levels 2", "from dec.pth", "licence: MIT", "enc.pth"):
        assert part in text


def test_a_decoder_alone_is_kept_and_says_what_it_lacks(files, capsys):
    convert.main(["dec.pth", "--output", "m.safetensors"])
    assert "convert it together with its encoder's file" in capsys.readouterr().out
    inspect.main(["m.safetensors"])
    assert "no encoder" in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds no encoder"):
        load("m.safetensors")


def test_an_encoder_can_be_normalised(files, capsys):
    folder = files / "photographs"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(np.uint8(255 * picture(224, 224, seed))).save(folder / f"{seed}.png")
    convert.main(["vgg19.pth", "--output", "plain.safetensors"])
    convert.main(["vgg19.pth", "--normalise", "folder:photographs", "--output", "n.safetensors"])
    plain, normal = load("plain.safetensors"), load("n.safetensors")
    assert normal.config.normalised
    batch = np.stack([np.asarray(Image.open(path)) / np.float32(255) for path in sorted(folder.iterdir())])
    for a, b in zip(plain.encode(batch), normal.encode(batch), strict=True):
        mean = np.asarray(b).mean((0, 1, 2))
        np.testing.assert_allclose(mean[mean > 0], 1, rtol=1e-2)
        np.testing.assert_allclose(
            np.asarray(a) / np.maximum(np.asarray(a).mean((0, 1, 2)), 1e-9), b, rtol=2e-2, atol=1e-3
        )
    assert "cannot" not in capsys.readouterr().out
    assert "only a whole encoder" in fails(
        capsys, convert, "enc.pth", "dec.pth", "--normalise", "folder:photographs", "--output", "x.safetensors"
    )
    assert not (files / "x.safetensors").exists()


def test_inspect_knows_our_models_and_foreign_files(files, capsys):
    for name, parts in {
        "small": ("small, normalised", "16 16 | 32 32", "CC BY 4.0", "decoder5"),
        "vgg16": ("levels 1, 2, 3, 4, 5; width 0.5", "CC BY 4.0"),
        "vgg19.pth": ("torchvision-vgg19", "decoders: levels none", "torchvision's VGG-19, from vgg19.pth"),
    }.items():
        inspect.main([name])
        text = capsys.readouterr().out
        for part in parts:
            assert part in text
    assert "there is no model called nothing" in fails(capsys, inspect, "nothing")


def test_bad_input(files, capsys):
    (files / "text").write_text("hello")
    assert "text is no weight file" in fails(capsys, convert, "text", "--output", "m.safetensors")
    assert "does not exist" in fails(capsys, convert, "enc.pth", "--output", "none/m.safetensors")
    assert "is one of the files" in fails(capsys, convert, "enc.pth", "--output", "enc.pth")
    assert not (files / "m.safetensors").exists()


@pytest.mark.parametrize(("library", "file"), [("torch", "enc.pth"), ("h5py", "a.h5")])
def test_a_missing_library_is_named(files, capsys, monkeypatch, library, file):
    with h5py.File("a.h5", "w"):
        pass
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert 'pip install "uwct[convert]"' in fails(capsys, convert, file, "--output", "m.safetensors")
    if library == "torch":
        assert 'pip install "uwct[convert]"' in fails(capsys, fetch, "vgg19")


def test_vgg19_from_a_file_is_found_by_its_name(files, capsys, monkeypatch):
    fetch.main(["vgg19", "--file", "vgg19.pth"])
    assert "vgg19 is ready" in capsys.readouterr().out
    assert (files / "vgg19.pth").exists()
    model = load("vgg19")
    assert model.config.backbone == "vgg19"
    assert model.config.normalised
    assert min(model.config.variances) > 0
    photographs = [np.asarray(Image.open(p)) / np.float32(255) for p in sorted((WEIGHTS / "photographs").iterdir())]
    mean = np.asarray(model.encode(np.stack(photographs))[2]).mean((0, 1, 2))
    np.testing.assert_allclose(mean[mean > 0], 1, rtol=1e-2)
    with pytest.raises(ValueError, match="--backbone vgg19 --levels 4"):
        model.check_levels((4,))


def test_keras_serves_as_well(files):
    net = encoder("vgg19", whole=True, first=False, padding=False)
    with h5py.File("keras.h5", "w") as file:
        for name, layer in zip(vgg_names("vgg19"), convolutions(net), strict=True):
            group = file.create_group(f"block{name[0]}_conv{name[2]}")
            group["kernel:0"] = layer.weight.detach().numpy().transpose(2, 3, 1, 0)
            group["bias:0"] = layer.bias.detach().numpy()
    fetch.main(["vgg19", "--file", "keras.h5"])
    assert load("vgg19").config.backbone == "vgg19"


def test_fetching_downloads_checks_and_tidies_up(files, capsys, server_of):
    url, name = server_of(files / "vgg19.pth")
    fetch.main(["vgg19", "--url", f"{url}/{name}"])
    assert load("vgg19").config.normalised
    assert [path.name for path in (files / "data" / "uwct").iterdir()] == ["vgg19.safetensors"]
    assert list((files / "cache" / "uwct").iterdir()) == []
    assert "not the file that was expected" in fails(capsys, fetch, "vgg19", "--url", f"{url}/{'net-' + '0' * 8}.pth")


@pytest.fixture
def server_of(monkeypatch):
    """Serves a file under a name with its hash, and under every other name too."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    servers = []

    def serve(path):
        content = path.read_bytes()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_offline_the_sentence_says_how_to_bring_the_file(files, capsys, monkeypatch):
    monkeypatch.setattr("uwct.convert.fetch.TRIES", 1)
    error = fails(capsys, fetch, "vgg19", "--url", "http://127.0.0.1:1/vgg19-dcbb9e9d.pth")
    assert "Connection refused; try again later, or bring the file yourself: uwct fetch vgg19 --file" in error
    assert "uwct fetch vgg19 brings it" in fails(capsys, inspect, "vgg19")


def test_another_network_is_not_vgg19(files, capsys):
    torch.save(encoder("vgg16", whole=True, first=False, padding=False).state_dict(), "other.pth")
    assert "holds torchvision's VGG-16, not VGG-19" in fails(capsys, fetch, "vgg19", "--file", "other.pth")
    assert not (files / "data" / "uwct" / "vgg19.safetensors").exists()


def test_every_documented_command_runs(files, monkeypatch):
    (files / "authors").mkdir()
    (files / "photos").mkdir()
    (files / "runs" / "vgg16").mkdir(parents=True)
    Image.fromarray(np.uint8(255 * picture(224, 224))).save("photos/a.png")
    torch.save(encoder("vgg19", whole=True).state_dict(), "vgg_normalised.pth")
    torch.save(decoder("vgg19", 4).state_dict(), "decoder.pth")
    for path, net in (
        ("vgg_normalised_conv3_1", encoder("vgg19", 3)),
        ("feature_invertor_conv3_1", decoder("vgg19", 3)),
    ):
        (files / "authors" / f"{path}.t7").write_bytes(t7(net))
    (files / "vgg19-dcbb9e9d.pth").write_bytes((files / "vgg19.pth").read_bytes())
    with h5py.File("vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5", "w") as file:
        net = encoder("vgg19", whole=True, first=False, padding=False)
        for name, layer in zip(vgg_names("vgg19"), convolutions(net), strict=True):
            group = file.create_group(f"block{name[0]}_conv{name[2]}")
            group["kernel:0"] = layer.weight.detach().numpy().transpose(2, 3, 1, 0)
            group["bias:0"] = layer.bias.detach().numpy()
    (files / "runs" / "vgg16" / "model.safetensors").symlink_to(WEIGHTS / "vgg16.safetensors")
    done = 0
    for line in "\n".join((convert.HELP, fetch.HELP, inspect.HELP)).splitlines():
        words = shlex.split(line) if line.startswith("  uwct ") else []
        if words and words[1:] not in (["fetch", "authors"], ["fetch", "collaborative-distillation"]):  # tested below
            monkeypatch.setattr(sys, "argv", words)
            main.main()
            done += 1
    assert done == 7


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def public(files, monkeypatch):
    """A server with a small set of authors' networks of two levels, laid out as the public one; and their table."""
    lines = ["model\tpart\tgithub_repository\tcommit\tpath\tgit_blob_sha1\tbytes\tsha256"]
    for level in (1, 2):
        for part, net in (("encoder", encoder("vgg19", level)), ("decoder", decoder("vgg19", level))):
            path = files / "served" / "somebody" / "project" / "abc" / "models" / f"{part}-{level}.pth"
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(net.state_dict(), path)
            content = path.read_bytes()
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            sha256 = hashlib.sha256(content).hexdigest() if level == 1 else "-"
            place = f"somebody/project\tabc\tmodels/{path.name}\t{blob}\t{len(content)}\t{sha256}"
            lines.append(f"authors\t{part}{level}\t{place}")
    (files / "published.tsv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(published, "TABLE", files / "published.tsv")
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    handler = partial(Quiet, directory=str(files / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_published_networks_are_downloaded_checked_converted_and_named(files, capsys, public):
    assert "uwct fetch authors brings it" in fails(capsys, inspect, "authors")
    fetch.main(["authors", "--levels", "1", "2", "--url", public])
    text = capsys.readouterr().out
    for part in ("--model authors", "Universal Style Transfer via Feature Transforms", "licence: MIT"):
        assert part in text
    model = load("authors")
    assert model.levels == (1, 2)
    np.testing.assert_allclose(model.encode(X, 2)[-1], run(encoder("vgg19", 2), X), rtol=1e-5, atol=1e-5)
    assert list((files / "cache" / "uwct").iterdir()) == []


def test_of_published_networks_what_is_there_is_not_fetched_again(files, capsys, public):
    wrong = next((files / "served").rglob("decoder-2.pth"))
    right = wrong.read_bytes()
    wrong.write_bytes(right[::-1])
    assert "is not the file that was expected" in fails(capsys, fetch, "authors", "--levels", "1", "2", "--url", public)
    there = {path.name: path.stat().st_mtime_ns for path in (files / "cache" / "uwct" / "authors").iterdir()}
    assert set(there) == {"encoder1.pth", "decoder1.pth", "encoder2.pth"}
    for path in (files / "served").rglob("*-1.pth"):
        path.unlink()  # they are there already
    wrong.write_bytes(right)
    fetch.main(["authors", "--levels", "1", "2", "--url", public])
    assert load("authors").levels == (1, 2)


def test_published_files_can_be_brought_by_whatever_names(files, capsys, public):
    (files / "mine").mkdir()
    for i, path in enumerate(sorted((files / "served").rglob("*.pth"))):
        (files / "mine" / f"{i}.bin").write_bytes(path.read_bytes())
    fetch.main(["authors", "--levels", "1", "2", "--file", "mine"])
    assert load("authors").levels == (1, 2)
    (files / "mine" / "0.bin").unlink()
    error = fails(capsys, fetch, "authors", "--levels", "1", "2", "--file", "mine")
    assert "mine holds not all of the published files: decoder1 are missing" in error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["authors", "--levels", "6"], "level must be one of 1, 2, 3, 4, 5, not 6"),
        (["authors", "--levels", "3"], "authors has no level 3"),
        (["authors", "--file", "none"], "authors has no level 3"),
        (["authors", "--levels", "1", "--file", "none"], "there is no folder none of published files"),
        (["vgg19", "--levels", "1"], "--levels is for authors and collaborative-distillation"),
        (["authors", "--photographs", "folder:x"], "--photographs is for vgg19"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(files, capsys, public, words, sentence):
    assert sentence in fails(capsys, fetch, *words)
    assert not (files / "data" / "uwct" / "authors.safetensors").exists()


def test_the_table_of_published_files_is_whole():
    for name in published.MODELS:
        found = published.entries(name, LEVELS)
        assert {entry.part for entry in found} == {f"{kind}{i}" for kind in ("encoder", "decoder") for i in LEVELS}
        assert all(len(entry.expected.git_blob) == 40 for entry in found)


@pytest.mark.parametrize("command", ["convert", "fetch", "inspect"])
def test_the_commands_are_found_and_explain_themselves(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["uwct", command, "--help"])
    with pytest.raises(SystemExit) as stop:
        main.main()
    assert stop.value.code == 0
    assert f"uwct {command}" in capsys.readouterr().out


def test_the_widths_of_vgg19_are_those_of_the_paper():
    assert [len(block) for block in vgg19().blocks] == [2, 2, 4, 4, 1]
