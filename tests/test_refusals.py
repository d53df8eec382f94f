"""What `uwct convert` does not take: broken, dangerous and half files, each with all that is wrong in one sentence."""

import os
import pickle
import struct

import h5py
import numpy as np
import pytest
import torch
from foreign import decoder, encoder, named, t7, vgg_names

from uwct.convert import torch7
from uwct.convert.collection import assemble, open_sources


def refused(tmp_path, content, name="file.pth"):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=name) as error:
        assemble(open_sources([path]))
    return str(error.value)


def test_every_fault_is_listed(tmp_path):
    state = encoder("vgg19").state_dict()
    del state["5.bias"]
    del state["9.weight"], state["9.bias"]
    state["77.weight"] = torch.zeros(3)
    text = refused(tmp_path, state)
    for fault in ("5.bias is missing", "9.weight is missing", "9.bias is missing", "77.weight is unknown"):
        assert fault in text
    assert "normalised VGG-19" in text


def test_misshapen_and_not_finite_tensors_are_listed(tmp_path):
    state = decoder("vgg19", 3).state_dict()
    state["5.weight"] = state["5.weight"][:, :-1]
    state["8.bias"] = state["8.bias"][:-1]
    state["12.bias"][0] = torch.nan
    text = refused(tmp_path, state)
    assert "5.weight has shape [6, 6, 3, 3], not [6, 7, 3, 3]" in text
    assert "8.bias has shape [4], not [5]" in text
    assert "12.bias is not finite" in text


@pytest.mark.parametrize("name", ["features.28.weight", "classifier.3.bias"])
def test_unused_layers_must_be_whole_too(tmp_path, name):
    net = encoder("vgg19", whole=True, first=False, padding=False)
    state = {f"features.{key}": value for key, value in net.state_dict().items()}
    for i in (0, 3, 6):
        state |= {f"classifier.{i}.weight": torch.zeros(2, 2), f"classifier.{i}.bias": torch.zeros(2)}
    del state[name]
    assert f"{name.removeprefix('features.')} is missing" in refused(tmp_path, state)


def test_other_networks_are_refused(tmp_path):
    text = refused(tmp_path, {"fc.weight": torch.zeros(3, 2), "fc.bias": torch.zeros(3)})
    assert "no VGG encoder or WCT decoder of a known format; its tensors: fc.weight, fc.bias" in text
    assert "its tensors: none" in refused(tmp_path, {"epoch": 1})
    normalised = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    assert "running_mean" in refused(tmp_path, normalised.state_dict())


def test_photo_wct_is_refused(tmp_path):
    state = {}
    for level in (1, 2):
        names = [f"conv{name}" for name in vgg_names("vgg19", level)]
        nets = named(encoder("vgg19", level), ["conv0", *names]), named(decoder("vgg19", level), names[::-1])
        for kind, tensors in zip("ed", nets, strict=True):
            state |= {f"{kind}{level}.{name}": value for name, value in tensors.items()}
    assert "PhotoWCT" in refused(tmp_path, state)


class Attack:
    def __reduce__(self):
        return os.mkdir, (os.environ["UWCT_ATTACK"],)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_torch_file_is_executed(tmp_path, monkeypatch, zipped):
    monkeypatch.setenv("UWCT_ATTACK", str(tmp_path / "attacked"))
    torch.save({"a": Attack()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"evil\.pth holds more than tensors") as error:
        open_sources([tmp_path / "evil.pth"])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "attacked").exists()


def test_files_that_are_cut_off(tmp_path):
    torch.save(encoder().state_dict(), tmp_path / "whole.pth")
    torch.save(encoder().state_dict(), tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    files = {"zip.pth": (tmp_path / "whole.pth").read_bytes(), "old.pth": (tmp_path / "legacy.pth").read_bytes()}
    for name, content in {**files, "lua.t7": t7(encoder())}.items():
        for part in (0.3, 0.9):
            refused(tmp_path, content[: int(part * len(content))], name)


def test_other_pickles_and_texts_are_no_weights(tmp_path):
    for content in (pickle.dumps([1, 2, 3]), b"hello", b""):
        assert "is no weight file" in refused(tmp_path, content, "thing")
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        open_sources([tmp_path / "nothing"])
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="holds no weight files"):
        open_sources([tmp_path / "folder"])


def test_integers_and_sparse_tensors_are_no_weights(tmp_path):
    state = decoder("vgg19", 1).state_dict()
    state["1.bias"] = torch.zeros(3, 3).to_sparse()
    assert "1.bias is not a plain array of numbers" in refused(tmp_path, state)
    state["1.bias"] = torch.zeros(3, dtype=torch.int32)
    assert "1.bias holds int32" in refused(tmp_path, state)


def test_hdf5_is_read_without_following_it_elsewhere(tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 64)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("block1_conv1/kernel:0", (4, 4), "f4", external=[(str(tmp_path / "secret"), 0, 64)])
    with pytest.raises(ValueError, match="not a plain array"):
        open_sources([tmp_path / "a.h5"])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("block1_conv1/kernel:0", (2**20, 2**20), "f4", chunks=(64, 64))
    with pytest.raises(ValueError, match="not a plain array"):
        open_sources([tmp_path / "b.h5"])
    content = (tmp_path / "b.h5").read_bytes()
    assert "not a whole HDF5 file" in refused(tmp_path, content[: len(content) // 2], "c.h5")


def test_torch7_layers_that_are_no_reflected_vgg(tmp_path):
    def zero_padded(modules):
        name, fields = modules[2]
        return [*modules[:2], (name, {**fields, "padW": 1, "padH": 1}), *modules[3:], ("nn.Tanh", {"train": False})]

    text = refused(tmp_path, t7(encoder(), change=zero_padded), "a.t7")
    assert "layer 2 pads with zeros" in text
    assert "is a nn.Tanh" in text
    assert "no Sequential" in refused(tmp_path, b"3\n1\n0\n", "b.t7")


def test_torch7_functions_are_skipped():
    code = struct.pack("<ii", torch7.FUNCTION, 3) + b"\x1bLJ" + struct.pack("<i", torch7.NIL)
    recursive = struct.pack("<iii", torch7.RECURSIVE, 5, 3) + b"\x1bLJ" + struct.pack("<i", torch7.NIL)
    for skipped in (code, recursive):
        table = struct.pack("<iiiii", torch7.TABLE, 1, 1, torch7.STRING, 1) + b"f" + skipped
        assert torch7._Stream(table).object() == {"f": None}


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<ii", 3, 1) + struct.pack("<i", 2**31 - 1),  # a table of two billion
        struct.pack("<ii", 2, -5),  # a string of negative length
        struct.pack("<i", 99),
        b"".join(struct.pack("<iiii", 3, i, 1, 5) + struct.pack("<i", 1) for i in range(100)),  # nested 100 deep
    ],
)
def test_torch7_files_that_lie(content):
    with pytest.raises((ValueError, EOFError, struct.error)):
        torch7._Stream(b"    " + content if content[0] not in (3, 4) else content).object()


def lying_tensor(size, strides, offset, count):
    head = struct.pack("<iii", 4, 1, 3) + b"V 1" + struct.pack("<i", 17) + b"torch.FloatTensor"
    head += struct.pack("<i", len(size)) + struct.pack(f"<{2 * len(size) + 1}q", *size, *strides, offset)
    head += struct.pack("<iii", 4, 2, 3) + b"V 1" + struct.pack("<i", 18) + b"torch.FloatStorage"
    return head + struct.pack("<q", count) + np.zeros(min(count, 8), np.float32).tobytes()


def test_torch7_tensors_stay_inside_their_storage():
    whole = torch7._Stream(lying_tensor([2, 4], [4, 1], 1, 8)).object()
    np.testing.assert_array_equal(whole, np.zeros((2, 4)))
    for lie in (
        ([2, 4], [4, 1], 2, 8),
        ([2, 4], [8, 1], 1, 8),
        ([2**40], [0], 1, 8),
        ([2], [-1], 4, 8),
        ([2], [1], 0, 8),
    ):
        with pytest.raises(ValueError, match="its storage does not hold"):
            torch7._Stream(lying_tensor(*lie)).object()
    with pytest.raises(EOFError):
        torch7._Stream(lying_tensor([2, 4], [4, 1], 1, 2**50)).object()


def test_networks_that_do_not_belong_together(tmp_path):
    torch.save(encoder("vgg19", 3).state_dict(), tmp_path / "a.pth")
    torch.save(decoder("vgg19", 4).state_dict(), tmp_path / "b.pth")
    with pytest.raises(ValueError, match="no encoder for level 4"):
        assemble(open_sources([tmp_path]))
    torch.save(decoder("vgg16", 4).state_dict(), tmp_path / "b.pth")
    torch.save(encoder("vgg19", 4).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="the decoder of level 4 mirrors the channels"):
        assemble(open_sources([tmp_path]))
    torch.save(decoder("vgg19", 4, seed=3).state_dict(), tmp_path / "b.pth")
    torch.save(decoder("vgg19", 4, seed=4).state_dict(), tmp_path / "c.pth")
    with pytest.raises(ValueError, match=r"two decoders of level 4, in .*b\.pth and in .*c\.pth"):
        assemble(open_sources([tmp_path]))
    names = [f"conv{name.replace('_', '')}" for name in vgg_names("vgg19", 2)[::-1]]
    torch.save(named(decoder("vgg19", 2), names), tmp_path / "c.pth")
    with pytest.raises(ValueError, match="end with a ReLU and some do not"):
        assemble(open_sources([tmp_path]))
