"""examples/comfyui, used as ComfyUI uses a node: by what it says of itself, its inputs and outputs checked."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import picture

import uwct
from uwct.pipeline.presets import PRESETS

KINDS = {"IMAGE": (torch.Tensor, 4), "MASK": (torch.Tensor, 3)}


@pytest.fixture
def node(tiny_model, monkeypatch):
    """The module, loaded from its folder as ComfyUI loads it, with a tiny model."""
    path = Path(__file__).parents[1] / "examples" / "comfyui" / "__init__.py"
    spec = importlib.util.spec_from_file_location("custom_nodes_uwct", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "load", lambda: tiny_model)
    return module


def execute(module, **inputs):
    """What ComfyUI does with a node: defaults, checks, the call, and the first of what it returns."""
    ((name, kind),) = module.NODE_CLASS_MAPPINGS.items()
    assert set(module.NODE_DISPLAY_NAME_MAPPINGS) == {name}
    declared = kind.INPUT_TYPES()
    for section, fields in declared.items():
        for field, (type_, *options) in fields.items():
            if field not in inputs and section == "required":
                inputs[field] = options[0]["default"]
            value = inputs.get(field)
            if isinstance(type_, list):
                assert value in type_
            elif type_ == "FLOAT":
                assert options[0]["min"] <= value <= options[0]["max"]
            elif value is not None:
                assert isinstance(value, KINDS[type_][0])
                assert value.ndim == KINDS[type_][1]
    outputs = getattr(kind(), kind.FUNCTION)(**inputs)
    assert len(outputs) == len(kind.RETURN_TYPES) == 1
    return outputs[0]


def batch(count, height, width, seed=0):
    return torch.from_numpy(np.stack([picture(height, width, seed + i) for i in range(count)]))


def test_each_picture_is_what_the_command_paints(node, folder):
    """The style at the preset's size, the preset's strengths and transform; to the file's rounding."""
    from uwct.cli import stylize
    from uwct.pictures import images

    photo, style = (torch.from_numpy(images.read(name).rgb)[None] for name in ("photo.jpg", "a.png"))
    result = execute(node, image=photo, style=style, preset="gentle")
    assert result.dtype == torch.float32
    assert result.shape == photo.shape
    words = ["--content", "photo.jpg", "--style", "a.png", "--output", "out.png", "--preset", "gentle"]
    stylize.main([*words, "--model", "tiny.safetensors", "--dtype", "float32"])
    np.testing.assert_allclose(result[0].numpy(), images.read("out.png").rgb, atol=0.6 / 255)


def test_a_batch_is_painted_one_by_one_and_a_batch_of_styles_mixed(node, tiny_model):
    photos, styles = batch(2, 20, 28), batch(2, 24, 24, 5)
    result = execute(node, image=photos, style=styles, preset="colors").numpy()
    alone = execute(node, image=photos[1:], style=styles, preset="colors").numpy()
    np.testing.assert_allclose(result[1:], alone, atol=1e-5)
    look = PRESETS["colors"]
    sized = [node.sized(style, look.style_size) for style in styles]
    mixed = uwct.stylize(
        tiny_model, photos[0].numpy(), sized, look.levels, look.alpha, weights=[1, 1],
        transform=uwct.monge, shrinkage=look.shrinkage,
    )  # fmt: skip
    np.testing.assert_allclose(result[0], np.clip(mixed, 0, 1), atol=1e-5)


@pytest.mark.parametrize("size", [(20, 28), (10, 14)])
def test_what_is_black_in_the_mask_stays(node, size):
    photos, mask = batch(2, 20, 28), torch.zeros(1, *size)
    mask[:, :, : size[1] // 2] = 1
    result = execute(node, image=photos, style=batch(1, 24, 24, 5), preset="colors", mask=mask)
    np.testing.assert_allclose(result[:, :, 16:], photos[:, :, 16:], atol=1e-6)
    assert (result - photos)[:, :, :12].abs().mean() > 0.02


def test_strength_leads_from_the_decoded_photo_to_the_style(node):
    photo, style = batch(1, 20, 28), batch(1, 24, 24, 5)
    none, half, full = (execute(node, image=photo, style=style, preset="colors", strength=s) for s in (0.0, 0.5, 1.0))
    assert 0 < (half - none).abs().mean() < (full - none).abs().mean()


def test_masks_must_be_one_or_as_many_as_the_pictures(node):
    with pytest.raises(ValueError, match="one mask, or one for each of 2 images, not 3"):
        execute(node, image=batch(2, 20, 28), style=batch(1, 24, 24), mask=torch.ones(3, 20, 28))


def test_alpha_is_left_out(node):
    photo, style = batch(1, 20, 28), batch(1, 24, 24, 5)
    with_alpha = torch.cat([photo, torch.ones_like(photo[..., :1])], dim=-1)
    plain, other = (execute(node, image=p, style=style, preset="colors") for p in (photo, with_alpha))
    np.testing.assert_array_equal(plain, other)
