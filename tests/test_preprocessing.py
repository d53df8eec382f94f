"""What a VGG takes that was trained to classify: torchvision's RGB, or Caffe's BGR from 0 to 255; who knows which."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import picture
from foreign import CORNERS, encoder, named, run, vgg_names
from safetensors.torch import save_file

from uwct import load
from uwct.cli import convert, fetch, inspect
from uwct.convert.collection import assemble, open_sources
from uwct.networks import lpips_jax
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


def net(family="vgg19", trained=None):
    return encoder(family, whole=True, first=False, padding=False, trained=trained)


def numbered(prefix="features.", dense=(), family="vgg19", trained=None):
    """A state dict with torchvision's names, and layers behind the convolutions."""
    state = {f"{prefix}{name}": value for name, value in net(family, trained).state_dict().items()}
    return state | behind(dense)


def underscored(family="vgg19", dense=(), trained=None):
    return named(net(family, trained), [f"conv{name}" for name in vgg_names(family)]) | behind(dense)


def behind(dense):
    """What classifies: it is left out, so its shapes do not matter."""
    weights = {f"{name}.weight": torch.zeros(7, 5) for name in dense}
    return weights | {f"{name}.bias": torch.zeros(7) for name in dense}


def write(path, state):
    if path.endswith(".pth"):
        torch.save(state, path)
    else:
        save_file({name: value.contiguous() for name, value in state.items()}, path)


def check(model, prepared, family="vgg19", trained=None):
    """Level 1 to 1e-5 of the largest value, and that the other preprocessing would be seen."""
    cut = net(family, trained)[:2]
    for name, x in PREPARED.items():
        expected = run(cut, x)
        found = np.asarray(model.encode(X, 1)[-1])
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        assert difference < 1e-5 if name == prepared else difference > 0.1
    assert model.config.backbone == f"{prepared}-{family}"


FORMS = {  # what makes the state dict, and what its names say that it takes
    "features": (numbered, None),
    "bare numbers": (partial(numbered, ""), None),
    "features in parallel": (partial(numbered, "features.module.", [f"classifier.{i}" for i in (0, 3, 6)]), None),
    "all in parallel": (partial(numbered, "module.features.", [f"module.classifier.{i}" for i in (0, 3, 6)]), None),
    "pytorch-vgg": (partial(numbered, dense=[f"classifier.{i}" for i in (1, 4, 6)]), None),
    "timm": (partial(numbered, dense=["pre_logits.fc1", "pre_logits.fc2", "head.fc"]), "torchvision"),
    "timm without its head": (partial(numbered, dense=["pre_logits.fc1", "pre_logits.fc2"]), "torchvision"),
    "Caffe's names": (underscored, None),
    "Caffe's names to the end": (partial(underscored, dense=["fc6", "fc7", "fc8"]), None),
}


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_recognised_and_what_it_takes_is_known_or_to_be_told(form, suffix, here, capsys):
    make, known = FORMS[form]
    write(f"vgg.{suffix}", make())
    if known:
        convert.main([f"vgg.{suffix}", "--output", "m.safetensors"])
        check(load("m.safetensors"), known)
    else:
        error = fails(capsys, convert, f"vgg.{suffix}", "--output", "m.safetensors")
        assert error.startswith(f"error: vgg.{suffix}: nothing says whether its VGG-19 takes RGB")
        assert error.endswith("uwct convert --input torchvision or --input caffe\n")
        assert error.count("\n") == 1
        assert not (here / "m.safetensors").exists()
        inspect.main([f"vgg.{suffix}"])
        assert "as it seems" in capsys.readouterr().out
    for told in PREPARED:
        convert.main([f"vgg.{suffix}", "--output", "m.safetensors", "--input", told])
        check(load("m.safetensors"), told)
        assert capsys.readouterr().err == ""
        inspect.main(["m.safetensors"])
        assert "as it seems" not in capsys.readouterr().out


@pytest.mark.parametrize("trained", PREPARED)
@pytest.mark.parametrize("family", ["vgg19", "vgg16"])
@pytest.mark.parametrize("form", [form for form, (_, known) in FORMS.items() if not known])
def test_published_weights_are_told_apart_by_their_first_layer(form, family, trained, capsys):
    """Whatever their file and layers are called, and in half precision."""
    make, _ = FORMS[form]
    write("vgg.pth", make(family=family, trained=trained))
    convert.main(["vgg.pth", "--output", "m.safetensors"])
    check(load("m.safetensors"), trained, family, trained)
    half = {name: value.half() for name, value in make(family=family, trained=trained).items()}
    write("half.safetensors", half)
    convert.main(["half.safetensors", "--output", "h.safetensors"])
    assert load("h.safetensors").config.backbone == f"{trained}-{family}"
    assert capsys.readouterr().err == ""


def test_the_installed_network_is_one_of_those_that_are_known():
    kernel = lpips_jax.network_params("vgg16")["VGG16_0"]["Conv_0"]["kernel"]
    np.testing.assert_allclose(kernel[0, 0, :, 0], CORNERS["vgg16", "torchvision"], atol=1e-5)


@pytest.mark.parametrize(
    "corner",
    [np.add(CORNERS["vgg19", "caffe"], (0, 0.01, 0)), CORNERS["vgg16", "caffe"], CORNERS["vgg19", "caffe"][::-1]],
)
def test_weights_that_are_nearly_the_published_ones_tell_nothing(corner, capsys):
    state = numbered()
    state["features.0.weight"][0, :, 0, 0] = torch.tensor(np.float32(corner))
    write("vgg.pth", state)
    assert "nothing says" in fails(capsys, convert, "vgg.pth", "--output", "m.safetensors")


def test_what_is_told_counts_more_than_what_is_known():
    write("vgg.pth", numbered(trained="torchvision"))
    convert.main(["vgg.pth", "--output", "m.safetensors", "--input", "caffe"])
    check(load("m.safetensors"), "caffe", trained="torchvision")


@pytest.mark.parametrize("family", ["vgg19", "vgg16"])
@pytest.mark.parametrize("names", [numbered, underscored])
def test_both_families_are_told_apart(names, family):
    write("vgg.safetensors", names(family=family))
    (source,) = open_sources([Path("vgg.safetensors")])
    assert [network.layout.family for network in source.networks] == [family]
    depths = {"vgg19": [2, 2, 4, 4, 1], "vgg16": [2, 2, 3, 3, 1]}
    assert [len(block) for block in source.networks[0].blocks] == depths[family]


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
    write("vgg.safetensors", numbered(trained="torchvision"))
    assert assemble(open_sources([here])).config.backbone == "torchvision-vgg19"  # ours beside it is passed over
    (here / "broken.safetensors").write_bytes((here / "vgg.safetensors").read_bytes()[:-9])
    error = fails(capsys, convert, "broken.safetensors", "--output", "m.safetensors")
    assert error.startswith("error: broken.safetensors is not a readable safetensors file: ")
    assert error.count("\n") == 1


def test_fetch_takes_no_guess_either(monkeypatch, here, capsys):
    for kind in ("data", "cache"):
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(here / kind))
    write("vgg.pth", numbered())
    error = fails(capsys, fetch, "vgg19", "--file", "vgg.pth")
    assert error.startswith("error: vgg.pth: nothing says whether its VGG-19 takes RGB")
    assert not list((here / "data").rglob("*.safetensors"))
