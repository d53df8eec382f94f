"""The commands convert, fetch and inspect, as people use them."""

import builtins
import shlex
import sys

import h5py
import numpy as np
import pytest
import torch
from conftest import picture
from foreign import convolutions, decoder, encoder, run, t7, vgg_names
from PIL import Image

from uwct import load
from uwct.cli import convert, fetch, inspect, main
from uwct.networks.config import vgg19
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
        "small": ("small, not normalised", "16 16 | 32 32", "CC BY 4.0", "decoder5"),
        "vgg16": ("levels 1, 2, 3, 4, 5; width 0.5", "CC BY 4.0"),
        "vgg19.pth": (
            "torchvision-vgg19",
            "decoders: levels none",
            "torchvision's VGG-19, from vgg19.pth",
        ),
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
    assert "would overwrite enc.pth" in fails(capsys, convert, "enc.pth", "--output", "enc.pth")
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
        if words and words[1:] not in (
            ["fetch", "authors"],
            ["fetch", "collaborative-distillation"],
        ):  # see test_cli_fetch.py
            monkeypatch.setattr(sys, "argv", words)
            main.main()
            done += 1
    assert done == 7


@pytest.mark.parametrize("command", ["convert", "fetch", "inspect"])
def test_the_commands_are_found_and_explain_themselves(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["uwct", command, "--help"])
    with pytest.raises(SystemExit) as stop:
        main.main()
    assert stop.value.code == 0
    assert f"uwct {command}" in capsys.readouterr().out


def test_the_widths_of_vgg19_are_those_of_the_paper():
    assert [len(block) for block in vgg19().blocks] == [2, 2, 4, 4, 1]
