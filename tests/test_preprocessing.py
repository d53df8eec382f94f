"""What a VGG takes that was trained to classify: torchvision's RGB, or Caffe's BGR from 0 to 255; who knows which."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import picture
from foreign import encoder, named, run, vgg_names
from safetensors.torch import save_file

from uwct import load
from uwct.cli import convert, fetch, inspect
from uwct.convert import layouts
from uwct.convert.collection import assemble, open_sources
from uwct.networks.tensors import write_file

X = picture(32, 48)
# As the two projects' own examples prepare a picture.
PREPARED = {
    "torchvision": (X - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225]),
    "caffe": X[..., ::-1] * 255 - np.float32([103.939, 116.779, 123.68]),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def net(family="vgg19"):
    return encoder(family, whole=True, first=False, padding=False)


def numbered(prefix="features.", dense=(), family="vgg19"):
    """A state dict with torchvision's names, and layers behind the convolutions."""
    state = {f"{prefix}{name}": value for name, value in net(family).state_dict().items()}
    for name in dense:
        state |= {f"{name}.weight": torch.zeros(7, 5), f"{name}.bias": torch.zeros(7)}
    return state


def underscored(family="vgg19", dense=()):
    state = named(net(family), [f"conv{name}" for name in vgg_names(family)])
    for name in dense:
        state |= {f"{name}.weight": torch.zeros(7, 5), f"{name}.bias": torch.zeros(7)}
    return state


def write(path, state):
    if path.endswith(".pth"):
        torch.save(state, path)
    else:
        save_file({name: value.contiguous() for name, value in state.items()}, path)


def check(model, prepared, family="vgg19"):
    """Level 1 to 1e-5 of the largest value, and that the other preprocessing would be seen."""
    cut = net(family)[:2]
    for name, x in PREPARED.items():
        expected = run(cut, x)
        found = np.asarray(model.encode(X, 1)[-1])
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        assert difference < 1e-5 if name == prepared else difference > 0.1
    assert model.config.backbone == f"{prepared}-{family}"


FORMS = {  # (state dict, what it takes, whether that is a guess)
    "features": (numbered(), "torchvision", True),
    "bare numbers": (numbered(""), "torchvision", True),
    "features in parallel": (numbered("features.module.", ["classifier.0", "classifier.3", "classifier.6"]),
                             "torchvision", True),
    "all in parallel": (numbered("module.features.", [f"module.classifier.{i}" for i in (0, 3, 6)]),
                        "torchvision", True),
    "pytorch-vgg": (numbered(dense=[f"classifier.{i}" for i in (1, 4, 6)]), "caffe", True),
    "timm": (numbered(dense=["pre_logits.fc1", "pre_logits.fc2", "head.fc"]), "torchvision", False),
    "timm without its head": (numbered(dense=["pre_logits.fc1", "pre_logits.fc2"]), "torchvision", False),
    "Caffe's names": (underscored(), "caffe", True),
    "Caffe's names to the end": (underscored(dense=["fc6", "fc7", "fc8"]), "caffe", True),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_recognised_and_what_is_a_guess_says_so(form, suffix, capsys):
    state, prepared, guess = FORMS[form]
    write(f"vgg.{suffix}", state)
    convert.main([f"vgg.{suffix}", "--output", "m.safetensors"])
    check(load("m.safetensors"), prepared)
    other = "caffe" if prepared == "torchvision" else "torchvision"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == guess
    assert all(line.startswith(f"vgg.{suffix}: ") and line.endswith(f"uwct convert --input {other}") for line in lines)
    inspect.main(["m.safetensors"])
    assert ("as it seems" in capsys.readouterr().out) == guess
    convert.main([f"vgg.{suffix}", "--output", "m.safetensors", "--input", other])
    check(load("m.safetensors"), other)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("family", ["vgg19", "vgg16"])
@pytest.mark.parametrize("names", [numbered, underscored])
def test_both_families_are_told_apart(names, family):
    write("vgg.safetensors", names(family=family))
    (source,) = open_sources([Path("vgg.safetensors")])
    assert [network.layout.family for network in source.networks] == [family]
    depths = {"vgg19": [2, 2, 4, 4, 1], "vgg16": [2, 2, 3, 3, 1]}
    assert [len(block) for block in source.networks[0].blocks] == depths[family]


@pytest.mark.parametrize(
    ("name", "prepared"),
    [
        ("vgg19-d01eb7cb.pth", "caffe"),
        ("vgg16-00b39a1b.pth", "caffe"),
        ("vgg19-dcbb9e9d.pth", "torchvision"),
        ("vgg16-397923af.pth", "torchvision"),
    ],
)
def test_published_files_are_known_by_their_names(name, prepared, capsys):
    """neural-style-pt writes its file anew, so that its hash is not the one in its name."""
    family = name[:5]
    write(name, numbered(dense=[f"classifier.{i}" for i in (0, 3, 6)], family=family))
    convert.main([name, "--output", "m.safetensors"])
    check(load("m.safetensors"), prepared, family)
    assert capsys.readouterr().err == ""


def test_published_files_are_known_by_their_hashes(here, monkeypatch, capsys):
    write("renamed.pth", numbered())
    digest = hashlib.sha256((here / "renamed.pth").read_bytes()).hexdigest()
    monkeypatch.setitem(layouts.PUBLISHED, digest[:8], "caffe")
    convert.main(["renamed.pth", "--output", "m.safetensors"])
    check(load("m.safetensors"), "caffe")
    assert capsys.readouterr().err == ""


def fails(capsys, command, *words):
    with pytest.raises(SystemExit) as stop:
        command.main(list(words))
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_what_says_itself_what_it_takes_is_not_to_be_told(here, capsys):
    write("normalised.pth", encoder("vgg19", 2).state_dict())
    error = fails(capsys, convert, "normalised.pth", "--output", "m.safetensors", "--input", "caffe")
    assert error == "error: --input is for a VGG that was trained to classify, and none of the files holds one\n"
    assert not (here / "m.safetensors").exists()


def test_our_own_files_are_not_other_programs(here, capsys):
    write_file("own.safetensors", {"encoder/conv1_1/bias": np.zeros(3, np.float32)}, {})
    error = fails(capsys, convert, "own.safetensors", "--output", "m.safetensors")
    assert error == "error: own.safetensors is a file of uwct already, which --model takes if it is a model\n"
    write("vgg.safetensors", numbered())
    assert assemble(open_sources([here])).config.backbone == "torchvision-vgg19"  # ours beside it is passed over
    (here / "broken.safetensors").write_bytes((here / "vgg.safetensors").read_bytes()[:-9])
    error = fails(capsys, convert, "broken.safetensors", "--output", "m.safetensors")
    assert error.startswith("error: broken.safetensors is not a readable safetensors file: ")
    assert error.count("\n") == 1


def test_fetch_says_too_what_is_a_guess(monkeypatch, here, capsys):
    for kind in ("data", "cache"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(here / kind))
    write("vgg.pth", numbered())
    fetch.main(["vgg19", "--file", "vgg.pth"])
    assert capsys.readouterr().err.startswith("vgg.pth: nothing says whether its VGG-19 takes RGB")
