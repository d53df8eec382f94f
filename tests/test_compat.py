"""The conventions of other projects, against a pipeline of their kind in PyTorch: float64 statistics, odd sizes too."""

import jax
import numpy as np
import pytest
import torch
from conftest import picture
from foreign import decoder, encoder, run
from PIL import Image

from uwct.cli import stylize
from uwct.convert.collection import assemble, open_sources
from uwct.pictures import images
from uwct.pipeline import compat

CONTENT, STYLE = picture(37, 50, 1), picture(45, 33, 2)


def power(cov, exponent):
    values, vectors = np.linalg.eigh(cov)
    kept = values > 1e-5
    return vectors[:, kept] * values[kept] ** exponent @ vectors[:, kept].T


def their_wct(content, style, alpha, ddof):
    x, y = (np.float64(f).reshape(-1, f.shape[-1]) for f in (content, style))
    whitened = (x - x.mean(0)) @ power(np.cov(x.T, ddof=ddof), -0.5)
    colored = whitened @ power(np.cov(y.T, ddof=ddof), 0.5) + y.mean(0)
    return np.float32(alpha * colored + (1 - alpha) * x).reshape(content.shape)


@pytest.mark.parametrize("pooling", ["floor", "ceil"])
@pytest.mark.parametrize(("divisor", "ddof"), [("n-1", 1), ("n", 0)])
def test_all_levels_in_turn(tmp_path, pooling, divisor, ddof):
    expected = CONTENT
    for level in (4, 3, 2, 1):
        net, back = encoder("vgg19", level, ceil=pooling == "ceil"), decoder("vgg19", level)
        torch.save(net.state_dict(), tmp_path / f"e{level}.pth")
        torch.save(back.state_dict(), tmp_path / f"d{level}.pth")
        expected = run(back, their_wct(run(net, expected), run(net, STYLE), 0.6, ddof))
        expected /= np.abs(expected).max() if level == 1 else 1
    model = assemble(open_sources([tmp_path]))
    convention = compat.Convention(pooling, divisor)
    found = np.array(compat.stylize(model, CONTENT, STYLE, (4, 3, 2, 1), 0.6, convention=convention))
    found /= np.abs(found).max()
    assert found.shape == expected.shape == ((32, 48, 3) if pooling == "floor" else (40, 56, 3))
    assert np.abs(found - expected).max() < 1e-4
    assert not jax.config.jax_enable_x64


def test_the_command_computes_as_the_function_does(tmp_path, tiny_model, folder):
    words = ["--content", "photo.jpg", "--style", "b.png", "--levels", "3", "1", "--alpha", "0.7"]
    stylize.main([*words, "--compat", "floor", "--model", "tiny.safetensors", "--output", "out.png"])
    content, style = (images.read(name).rgb for name in ("photo.jpg", "b.png"))
    expected = np.clip(compat.stylize(tiny_model, content, style, (3, 1), 0.7), 0, 1)
    found = np.asarray(Image.open("out.png")) / 255
    assert found.shape == expected.shape == (20, 32, 3)
    assert np.abs(found - expected).max() < 0.51 / 255 + 1e-4
    stylize.main([*words, "--compat", "ceil", "--model", "tiny.safetensors", "--output", "out.png"])
    assert Image.open("out.png").size == (33, 21)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--style", "a.png", "b.png"], "one content and one style"),
        (["--style", "a.png", "--transform", "adain"], "computes WCT without shrinkage"),
        (["--style", "a.png", "--shrinkage", "0.1"], "computes WCT without shrinkage"),
        (["--style", "a.png", "--dtype", "bfloat16"], "in float32"),
        (["--style", "a.png", "--levels", "2", "1", "--alpha", "0.1", "0.2"], "one --alpha for all levels"),
    ],
)
def test_what_other_projects_do_not_do_is_refused(folder, capsys, words, sentence):
    with pytest.raises(SystemExit) as stop:
        stylize.main(["--content", "photo.jpg", "--compat", "floor", "--model", "tiny.safetensors", *words])
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err


def test_bad_conventions_and_pictures_are_refused(tiny_model):
    with pytest.raises(ValueError, match="pooling"):
        compat.Convention("round")
    with pytest.raises(ValueError, match="divisor"):
        compat.Convention("floor", "n+1")
    with pytest.raises(ValueError, match="level 5 pools a picture"):
        compat.stylize(tiny_model, picture(15, 40), STYLE)
