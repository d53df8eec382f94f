"""Every format that `uwct convert` takes: files of that very format, against the original framework's own pass."""

import numpy as np
import pytest
import torch
from conftest import picture
from foreign import WIDTHS, convolutions, decoder, encoder, named, run, t7, vgg_names

from uwct.convert.collection import assemble, open_sources
from uwct.convert.networks import CAFFE, TORCHVISION

X = picture(32, 48)


def converted(tmp_path, **files):
    for name, content in files.items():
        path = tmp_path / name.replace("__", ".")
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif name.endswith("legacy"):
            torch.save(content, path, _use_new_zipfile_serialization=False)
        else:
            torch.save(content, path)
    return assemble(open_sources([tmp_path]))


def agree(found, expected):
    """To 1e-5 of the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def taps(net):
    """The pass of a net cut after relu1_1, relu2_1, ...: the first ReLU of every block."""
    ends, fresh = [], True
    for place, layer in enumerate(net):
        if isinstance(layer, torch.nn.MaxPool2d):
            fresh = True
        if isinstance(layer, torch.nn.ReLU) and fresh:
            ends.append(place + 1)
            fresh = False
    return [net[:end] for end in ends]


def check_encoder(model, net, before=lambda x: x):
    for level, cut in enumerate(taps(net), start=1):
        agree(model.encode(X, level)[-1], run(cut, before(X)))


@pytest.mark.parametrize("family", ["vgg19", "vgg16"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torchvision(tmp_path, family, zipped):
    net = encoder(family, whole=True, first=False, padding=False)
    state = {f"features.{name}": value for name, value in net.state_dict().items()}
    for i, shape in ((0, (7, 5)), (3, (7, 7)), (6, (3, 7))):
        state |= {f"classifier.{i}.weight": torch.zeros(shape), f"classifier.{i}.bias": torch.zeros(shape[0])}
    model = converted(tmp_path, **{"vgg__pth" if zipped else "vgg_legacy": state})
    matrix, shift = (np.float32(value) for value in TORCHVISION)
    check_encoder(model, net, lambda x: x @ matrix.T + shift)
    np.testing.assert_allclose(matrix @ [0.485, 0.456, 0.406] + shift, 0, atol=1e-6)
    assert model.config.backbone == f"torchvision-{family}"
    assert not model.config.normalised
    assert model.levels == ()


def test_torchvision_without_the_classifier_and_under_module(tmp_path):
    net = encoder("vgg19", whole=True, first=False, padding=False)
    prefixed = {f"module.features.{name}": value for name, value in net.state_dict().items()}
    bare = converted(tmp_path, bare__pth=net.state_dict())
    (tmp_path / "bare.pth").unlink()
    assert converted(tmp_path, prefixed__pth={"epoch": 3, "state_dict": prefixed}).config == bare.config


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("family", ["vgg19", "vgg16"])
def test_the_normalised_vgg_and_the_authors_decoders(tmp_path, family, level):
    net, back = encoder(family, level, ceil=True), decoder(family, level)
    model = converted(tmp_path, enc__pth=net.state_dict(), dec__pth=back.state_dict())
    check_encoder(model, net)
    features = run(net, X)
    agree(model.decode(features, level), run(back, features))
    assert model.levels == (level,)


@pytest.mark.parametrize("how", [{}, {"text": True}, {"dtype": np.float64}, {"flat": True}])
def test_torch7(tmp_path, how):
    net, back = encoder("vgg19", 4), decoder("vgg19", 4)
    model = converted(tmp_path, enc__t7=t7(net, **how), dec__t7=t7(back, **how))
    check_encoder(model, net)
    features = run(net, X)
    agree(model.decode(features, 4), run(back, features))


def test_a_normalised_vgg_to_its_end(tmp_path):
    net = encoder("vgg19", whole=True)
    check_encoder(converted(tmp_path, vgg_normalised__pth=net.state_dict()), net)


def underscored(level, first=()):
    return [*first, *(f"conv{name}" for name in vgg_names("vgg19", level))]


NAMINGS = {  # level -> names of an encoder's layers, and of its decoder's
    "numbered": lambda level: (
        [f"conv{i}" for i in range(1, len(vgg_names("vgg19", level)) + 2)],
        [f"conv{i + len(vgg_names('vgg19', level)) + 2}" for i in range(len(vgg_names("vgg19", level)))],
    ),
    "underscored": lambda level: (underscored(level, ["conv0"]), underscored(level)[::-1]),
    "in a container": lambda level: (
        ["preprocess", *(f"seq.{name}" for name in underscored(level))],
        [f"seq.{name}" for name in underscored(level)[::-1]],
    ),
    "their own": lambda level: (
        underscored(level, ["conv0"]),
        [f"up.step_{i}.filter" for i in range(len(vgg_names("vgg19", level)))],
    ),
}


@pytest.mark.parametrize("level", [1, 3, 5])
@pytest.mark.parametrize("naming", NAMINGS)
def test_decoders_with_named_layers(tmp_path, naming, level):
    net, back = encoder("vgg19", level), decoder("vgg19", level)
    names, back_names = NAMINGS[naming](level)
    state = {name.replace("preprocess.", "preprocess_"): value for name, value in named(net, names).items()}
    model = converted(tmp_path, enc__pth=state, dec__pth={"state_dict": named(back, back_names), "epoch": 1})
    check_encoder(model, net)
    features = run(net, X)
    agree(model.decode(features, level), run(back, features))
    assert not model.config.final_relu


def test_a_module_of_all_networks_in_one_file(tmp_path):
    state, nets = {}, {}
    for level in (1, 2, 3):
        nets[level] = encoder("vgg19", level), decoder("vgg19", level, seed=level)
        for kind, net in zip(("e", "d"), nets[level], strict=True):
            state |= {f"{kind}{level}.{name}": value for name, value in net.state_dict().items()}
    model = converted(tmp_path, wct__pth=state)
    for level, (net, back) in nets.items():
        features = run(net, X)
        agree(model.encode(X, level)[-1], features)
        agree(model.decode(features, level), run(back, features))


def test_collaborative_distillation(tmp_path, monkeypatch):
    files, nets = {}, {}
    for level in (1, 2, 3, 4, 5):
        if level == 2:
            monkeypatch.setitem(WIDTHS, "vgg19", [[w + 2 for w in widths] for widths in WIDTHS["vgg19"]])
        net, back = encoder("vgg19", level, seed=level), decoder("vgg19", level, seed=level)
        back[-1].bias.data -= run(back, run(net, X)).mean()  # so that the ReLU has something to do
        back.append(torch.nn.ReLU())
        names = [f"conv{name.replace('_', '')}" for name in vgg_names("vgg19", level)]
        state = named(net, ["conv0", *names])
        for block in range(1, level + 1):
            state |= {f"conv{block}1_aux.weight": torch.zeros(20, 3, 1, 1), f"conv{block}1_aux.bias": torch.zeros(20)}
        files[f"e{level}_legacy"], files[f"d{level}_legacy"] = {"epoch": 20, "model": state}, named(back, names[::-1])
        nets[level] = net, back
    model = converted(tmp_path, **files)
    assert model.levels == (1, 2, 3, 4, 5)
    assert model.config.encoder(1) == ("encoder1", ((4,),))
    assert model.config.encoder(2) == ("encoder2", ((6, 7), (8,)))
    for level, (net, back) in nets.items():
        features = run(net, X)
        agree(model.encode(X, level)[-1], features)
        agree(model.decode(features, level), run(back, features))
        assert np.asarray(model.decode(features, level)).min() == 0 < run(back, features).max()
    for level, features in model.encode_all(X).items():
        agree(features, run(nets[level][0], X))


@pytest.fixture(scope="module")
def keras():
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    return keras


def keras_vgg(keras, family, *, top):
    """keras.applications' VGG with fewer channels; its layers pad with zeros, which plays no part in weight files."""
    keras.utils.set_random_seed(0)  # of so few channels some draws are cut off nearly all by the ReLUs
    x = inputs = keras.Input((32, 32, 3))
    for block, widths in enumerate(WIDTHS[family], 1):
        for i, width in enumerate(widths, 1):
            x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=f"block{block}_conv{i}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    if top:
        x = keras.layers.Flatten(name="flatten")(x)
        for name in ("fc1", "fc2", "predictions"):
            x = keras.layers.Dense(6, name=name)(x)
    return keras.Model(inputs, x, name=family)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", "_whole.h5"])
@pytest.mark.parametrize(("family", "top"), [("vgg19", False), ("vgg16", True)])
def test_keras(tmp_path, keras, family, top, suffix):
    model = keras_vgg(keras, family, top=top)
    path = tmp_path / f"vgg{suffix}"
    if suffix == ".h5":
        import h5py
        from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

        with h5py.File(path, "w") as file:
            save_weights_to_hdf5_group(file, model)
    elif suffix == "_whole.h5":
        model.save(path)
    else:
        model.save_weights(path)
    found = assemble(open_sources([path]))
    assert found.config.backbone == f"caffe-{family}"
    matrix, shift = (np.float32(value) for value in CAFFE)
    x = X[None] @ matrix.T + shift
    level = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            padded = keras.ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect")
            x = keras.ops.relu(keras.ops.conv(padded, layer.kernel, padding="valid") + layer.bias)
            if layer.name.endswith("conv1"):
                level += 1
                agree(found.encode(X, level)[-1], np.asarray(x)[0])
        elif isinstance(layer, keras.layers.MaxPooling2D):
            x = layer(x)
    assert level == 5


def test_keras_subtracts_the_mean_color_in_bgr():
    matrix, shift = CAFFE
    np.testing.assert_allclose(matrix @ (np.array([123.68, 116.779, 103.939]) / 255) + shift, 0, atol=1e-9)
    np.testing.assert_array_equal(matrix @ [1, 0, 0], [0, 0, 255])


def test_keras_files_of_the_first_version(tmp_path):
    import h5py

    net = encoder("vgg19", whole=True, first=False, padding=False)
    with h5py.File(tmp_path / "vgg19_notop.h5", "w") as file:
        for name, layer in zip(vgg_names("vgg19"), convolutions(net), strict=True):
            group = file.create_group(f"block{name[0]}_conv{name[2]}")
            group[f"{group.name[1:]}_W_1:0"] = layer.weight.detach().numpy().transpose(2, 3, 1, 0)
            group[f"{group.name[1:]}_b_1:0"] = layer.bias.detach().numpy()
    model = assemble(open_sources([tmp_path / "vgg19_notop.h5"]))
    matrix, shift = (np.float32(value) for value in CAFFE)
    check_encoder(model, net, lambda x: x @ matrix.T + shift)
