"""Style files: what is read is what was written, for the model that made it only."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY, picture
from safetensors.numpy import load_file, save_file

from uwct import encode_style, load_style, mix_styles, save_style, stylize
from uwct.cli import stylize as command
from uwct.networks.model import save
from uwct.networks.tensors import read_file
from uwct.pipeline.styles import stack_styles

STYLE = picture(40, 33, 3)


@pytest.fixture
def saved(tiny_model, tmp_path):
    style = encode_style(tiny_model, jnp.asarray(STYLE))
    save_style(style, tmp_path / "s.safetensors", tiny_model)
    return style, tmp_path / "s.safetensors"


def test_a_mixed_style_paints_as_the_mixture(tiny_model):
    styles = [encode_style(tiny_model, jnp.asarray(picture(40, 33, seed))) for seed in (3, 4)]
    mixed = mix_styles(styles, [1, 3])
    content = jnp.asarray(picture(24, 40))
    expected = stylize(tiny_model, content, styles, (3, 1), 0.7, weights=[1, 3])
    np.testing.assert_allclose(stylize(tiny_model, content, mixed, (3, 1), 0.7), expected, atol=1e-3)
    with pytest.raises(ValueError, match="at least one style"):
        mix_styles([])
    with pytest.raises(ValueError, match="as many weights"):
        mix_styles(styles, [1])
    with pytest.raises(ValueError, match="as many weights"):
        mix_styles(styles, [[1, 3], [2, 2]])


def test_a_mask_takes_part_of_the_painting(tiny_model):
    """The style of the left half, but for the seam, is that of the picture's left half."""
    wide = np.concatenate([picture(64, 64, 5), picture(64, 64, 6)], axis=1)
    mask = np.broadcast_to(np.arange(128) < 64, (64, 128))
    masked, alone = encode_style(tiny_model, wide, mask), encode_style(tiny_model, wide[:, :64])
    assert masked.moments[1].weight == alone.moments[1].weight == 64 * 64
    np.testing.assert_allclose(masked.moments[1].mean, alone.moments[1].mean, atol=0.01)
    whole = encode_style(tiny_model, wide)
    everywhere = encode_style(tiny_model, wide, np.ones((64, 128)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), everywhere, whole)
    with pytest.raises(ValueError, match="a mask must have the picture's shape"):
        encode_style(tiny_model, wide, mask[1:])


def test_a_style_of_some_levels_paints_with_these_alone(tiny_model, tmp_path):
    photo, painting = jnp.asarray(picture(20, 24, 1)), jnp.asarray(picture(24, 20, 2))
    every, some = encode_style(tiny_model, painting), encode_style(tiny_model, painting, levels=(3, 1))
    assert sorted(some.moments) == [1, 3]
    painted = [stylize(tiny_model, photo, style, (3, 1), 0.6) for style in (every, some)]
    np.testing.assert_allclose(*painted, atol=1e-5)
    assert sorted(mix_styles([every, some]).moments) == [1, 3]
    with pytest.raises(ValueError, match=r"a style was encoded without level 2 \(it has: \[1, 3\]\)"):
        stylize(tiny_model, photo, some, (2, 1), 0.6)
    with pytest.raises(ValueError, match="the style was encoded without level 2; it is not saved"):
        save_style(some, tmp_path / "some.safetensors", tiny_model)
    for levels, fault in (((), "at least one level"), ((6,), "no encoder for level 6")):
        with pytest.raises(ValueError, match=fault):
            encode_style(tiny_model, painting, levels=levels)


def test_a_style_survives_its_file_and_needs_no_picture(saved, tiny_model):
    style, path = saved
    found = load_style(path, tiny_model)
    jax.tree.map(np.testing.assert_array_equal, found, style)
    content = picture(24, 40)
    np.testing.assert_array_equal(stylize(tiny_model, content, found), stylize(tiny_model, content, jnp.asarray(STYLE)))
    assert load_style(path, tiny_model.replace(dtype="bfloat16")).moments.keys() == {1, 2, 3, 4, 5}


def test_another_models_style_is_refused(saved, tiny_model):
    _, path = saved
    other = jax.tree.map(jnp.array, tiny_model)
    other.params["encoder"]["conv3_1"]["bias"] += 1e-3
    other = other.replace(config=dataclasses.replace(TINY, backbone="other"))
    with pytest.raises(ValueError, match=r"was made by another model \(of tiny\), not by this one \(of other\)"):
        load_style(path, other)
    # Decoders play no part in a style.
    other = jax.tree.map(jnp.array, tiny_model)
    other.params["decoder3"]["conv3_1"]["bias"] += 1
    load_style(path, other)


def test_every_fault_is_listed(saved, tiny_model, tmp_path):
    _, path = saved
    tensors, (_, metadata) = load_file(path), read_file(path)
    del tensors["level1/mean"]
    tensors["level2/scatter"] = tensors["level2/scatter"][:3]
    tensors["level3/mean"] = tensors["level3/mean"] * np.nan
    tensors["level6/mean"] = np.zeros(3, np.float32)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match="not a whole style") as error:
        load_style(path, tiny_model)
    for fault in ("level1/mean is missing", "level2/scatter has shape [3, 8], not [8, 8]", "level3/mean is not finite",
                  "level6/mean is unknown"):  # fmt: skip
        assert fault in str(error.value)


def test_other_files_are_refused(saved, tiny_model, tmp_path):
    save(tiny_model, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="is not a style file"):
        load_style(tmp_path / "m.safetensors", tiny_model)
    with pytest.raises(FileNotFoundError, match="there is no style file"):
        load_style(tmp_path / "none", tiny_model)
    style, path = saved
    broken = jax.tree.map(lambda x: x * jnp.nan, style)
    for bad, sentence in ((broken, "not finite"), (stack_styles([style, style]), "a stack of styles")):
        with pytest.raises(ValueError, match=sentence):
            save_style(bad, path, tiny_model)
    load_style(path, tiny_model)  # still the old one


def test_the_command_takes_style_files(folder, tiny_model, capsys):
    from uwct.pictures import images

    how = ["--content", "photo.jpg", "--levels", "3", "1", "--model", "tiny.safetensors", "--dtype", "float32"]
    pixels = images.read("a.png").rgb  # NumPy's, as the command's: JAX's are taken as they are, to other roundings
    save_style(encode_style(tiny_model, pixels), "a.safetensors", tiny_model)
    for style, output in (("a.png", "x.png"), ("a.safetensors", "y.png")):
        command.main([*how, "--style", style, "--style-size", "0", "--output", output])
    np.testing.assert_array_equal(images.read("x.png").rgb, images.read("y.png").rgb)
    with pytest.raises(SystemExit) as stop:
        command.main([*how, "--style", "tiny.safetensors"])
    assert stop.value.code == 2
    assert "is not a style file" in capsys.readouterr().err
