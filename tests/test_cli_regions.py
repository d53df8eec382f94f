"""--region, --keep-colors, --steps, --json and standard streams on the command line."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import uwct
from uwct import Region
from uwct.cli import masks as mask_files
from uwct.cli import stylize
from uwct.pictures import images
from uwct.pipeline.presets import PRESETS

COMMON = ["--content", "photo.jpg", "--model", "tiny.safetensors", "--levels", "2", "1", "--dtype", "float32"]


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"), np.float32)


def run(output, *words):
    stylize.main([*COMMON, "--output", output, *words])
    return pixels(output)


@pytest.fixture
def masks(folder):
    """The left third, of another size than the photo; and all thirds in colors."""
    left = np.uint8(255 * (np.arange(66) < 22))[None].repeat(42, 0)
    Image.fromarray(left).save("left.png")
    colors = np.uint8([[255, 0, 0], [0, 255, 0], [0, 0, 255]]).repeat(22, 0)[None].repeat(42, 0)
    Image.fromarray(colors).save("labels.png")
    return folder


def test_a_part_takes_a_style_and_the_rest_another_or_none(masks, tiny_model):
    photo, style, other = (images.read(name).rgb for name in ("photo.jpg", "a.png", "b.png"))
    mask = mask_files.read_mask(Path("left.png"), (21, 33))
    preset = PRESETS["paint"]
    look = {"transform": uwct.monge, "shrinkage": preset.shrinkage}

    def expected(*parts):
        parts = [part.replace(alpha=preset.alpha[2:]) for part in parts]
        found = uwct.stylize(tiny_model, photo, parts, (2, 1), **look)
        return 255 * np.clip(found, 0, 1)

    part = ("--style-size", "0", "--region", "left.png")
    assert np.abs(run("x.png", *part, "a.png") - expected(Region(mask, style))).max() <= 1
    both = run("x.png", *part, "a.png", "--style", "b.png")
    assert np.abs(both - expected(Region(mask, style), Region(None, other))).max() <= 1
    mixed = run("x.png", *part, "a.png:1", "b.png:3", "--style", "b.png")
    assert np.abs(mixed - expected(Region(mask, [style, other], [1, 3]), Region(None, other))).max() <= 1
    kept = run("x.png", *part, "--style", "b.png")
    assert np.abs(kept - expected(Region(mask), Region(None, other))).max() <= 1
    assert np.abs(kept[:, :9] - 255 * photo[:, :9]).max() <= 1


def test_a_label_picture_gives_a_region_a_color(masks):
    by_mask = run("x.png", "--region", "left.png", "a.png", "--style", "b.png")
    by_color = run("y.png", "--region", "labels.png:ff0000", "a.png", "--style", "b.png")
    assert np.abs(by_mask - by_color).max() <= 1
    parts = ["--region", "labels.png:FF0000", "a.png", "--region", "labels.png:00ff00", "b.png:2", "a.png:1"]
    third = run("z.png", *parts, "--region", "labels.png:0000ff")[:, 26:]
    assert np.abs(third - pixels("photo.jpg")[:, 26:]).max() <= 1


def test_a_regions_alpha_is_a_factor(masks):
    none = run("x.png", "--region", "left.png", "a.png", "--region-alpha", "0", "--style", "b.png")
    full = run("y.png", "--region", "left.png", "a.png", "--region-alpha", "1", "--style", "b.png")
    default = run("z.png", "--region", "left.png", "a.png", "--style", "b.png")
    assert np.abs(full - default).max() == 0
    assert np.abs(none[:, :8] - full[:, :8]).mean() > 3


def test_masks_are_grey_or_one_color(masks):
    np.testing.assert_allclose(mask_files.read_mask(Path("left.png"), (42, 66))[:, [0, 21, 22, 65]][0], [1, 1, 0, 0])
    green = mask_files.read_mask(Path("labels.png"), (42, 66), "00ff00")
    np.testing.assert_allclose(green[0, [21, 22, 43, 44]], [0, 1, 1, 0])
    Image.open("labels.png").save("labels.jpg", quality=90, subsampling=0)
    assert np.abs(mask_files.read_mask(Path("labels.jpg"), (42, 66), "00ff00") - green).mean() < 0.1


def test_what_is_transparent_is_not_the_part(tmp_path):
    rgba = np.full((8, 8, 4), 255, np.uint8)
    rgba[:, 4:, 3], rgba[:4, :, :3] = 0, (255, 0, 0)
    Image.fromarray(rgba).save(tmp_path / "cutout.png")
    found = mask_files.read_mask(tmp_path / "cutout.png", (8, 8))
    np.testing.assert_allclose(found[4:, [0, 3, 4, 7]], np.tile([1.0, 1, 0, 0], (4, 1)))
    red = mask_files.read_mask(tmp_path / "cutout.png", (8, 8), "ff0000")
    np.testing.assert_array_equal(red, np.outer(np.arange(8) < 4, np.arange(8) < 4))


@pytest.mark.parametrize(("kind", "white", "taken"), [(np.uint8, 1, "1"), (np.uint8, 3, "3"), (np.uint16, 1, "0.0039")])
def test_a_mask_of_two_faint_values_is_black_and_white(tmp_path, capsys, kind, white, taken):
    part = np.arange(12) >= 5
    Image.fromarray(np.tile((white * part).astype(kind), (6, 1))).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(mask_files.read_mask(tmp_path / "mask.png", (6, 12)), np.tile(part, (6, 1)))
    said = rf"the lighter of the two values of the mask .*mask.png, {taken} of 255, is taken for white\n"
    assert re.fullmatch(said, capsys.readouterr().err)


def test_masks_that_are_dark_or_empty_on_purpose_are_left_as_they_are(tmp_path, capsys):
    for name, value in (("half", 128), ("none", 0)):
        Image.fromarray(np.uint8(value * np.tri(6))).save(tmp_path / f"{name}.png")
        found = mask_files.read_mask(tmp_path / f"{name}.png", (6, 6))
        np.testing.assert_allclose(found, np.float32(value / 255) * np.tri(6), atol=1e-6)
    assert not capsys.readouterr().err


def test_a_mask_of_labels_without_a_color_is_refused(tmp_path):
    Image.fromarray(np.uint8(np.arange(16).reshape(4, 4) % 5)).save(tmp_path / "labels.png")
    with pytest.raises(ValueError, match=r"nearly black everywhere: .* it has 4 at most; .* name a color"):
        mask_files.read_mask(tmp_path / "labels.png", (4, 4))


def test_one_label_leaves_its_neighbours_alone(tmp_path):
    ids = np.uint8(np.repeat(np.arange(8), 4))[None].repeat(16, 0)
    Image.fromarray(ids).save(tmp_path / "ids.png")
    np.testing.assert_array_equal(mask_files.read_mask(tmp_path / "ids.png", ids.shape, "030303"), ids == 3)
    palette = Image.fromarray(ids, "P")
    palette.putpalette([value for i in range(8) for value in (i % 2, 9, 9)])  # numbers 1 and 3 have one color
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(mask_files.read_mask(tmp_path / "palette.png", ids.shape, "#3"), ids == 3)
    with pytest.raises(ValueError, match=r"no pixel of the mask .* has the color 0a0a0a"):
        mask_files.read_mask(tmp_path / "ids.png", ids.shape, "0a0a0a")
    with pytest.raises(ValueError, match="has no palette"):
        mask_files.read_mask(tmp_path / "ids.png", ids.shape, "#3")


def test_labels_in_a_lossy_format_go_to_the_nearest(tmp_path):
    """Also where JPEG's colors stray farther than labels of a lossless format could lie apart."""
    colors = np.uint8([[200, 40, 40], [40, 40, 200], [40, 200, 40], [90, 90, 90]])
    labels = np.repeat(np.arange(4), 16)[None].repeat(32, 0)
    for quality in (95, 40):
        Image.fromarray(colors[labels]).save(tmp_path / "labels.jpg", quality=quality)
        found = [mask_files.read_mask(tmp_path / "labels.jpg", labels.shape, bytes(c).hex()) for c in colors]
        assert np.mean(np.stack(found) == (labels == np.arange(4)[:, None, None])) > 0.97
        assert np.stack(found).sum(0).max() == 1  # no pixel is of two labels


def test_the_chroma_is_the_photos(folder):
    words = ("--style", "a.png", "--alpha", "0.4")  # more would leave [0, 1] at many pixels
    photo, stylized, kept = (
        pixels("photo.jpg"),
        run("x.png", *words),
        run("y.png", *words, "--keep-colors", "luminance"),
    )
    chroma = [
        np.asarray(Image.fromarray(np.uint8(x)).convert("YCbCr"), float)[..., 1:] for x in (photo, stylized, kept)
    ]
    assert np.abs(chroma[2] - chroma[0]).mean() < 0.3 * np.abs(chroma[1] - chroma[0]).mean()


def test_a_style_is_matched_to_the_photo_first(folder, tiny_model):
    found = run("out.png", "--style", "a.png", "--keep-colors", "matched", "--style-size", "0")
    photo, style = (images.read(name).rgb for name in ("photo.jpg", "a.png"))
    matched = uwct.encode_style(tiny_model, uwct.match_colors(style, photo))
    preset = PRESETS["paint"]
    look = {"transform": uwct.monge, "shrinkage": preset.shrinkage}
    expected = uwct.stylize(tiny_model, photo, matched, (2, 1), preset.alpha[2:], **look)
    assert np.abs(found - 255 * np.clip(expected, 0, 1)).max() <= 1


def test_steps_are_the_levels_in_turn(folder):
    whole = run("out.png", "--style", "a.png")
    assert (run("out.png", "--style", "a.png", "--steps") == whole).all()
    assert (pixels("out.level1.png") == whole).all()
    first = run("x.png", "--style", "a.png", "--levels", "2")
    assert (pixels("out.level2.png") == first).all()


def test_json_says_what_was_done(folder, capsys):
    run("out.png", "--style", "a.png", "--json", "--alpha", "0.5")
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert record["content"] == "photo.jpg"
    assert record["styles"] == ["a.png"]
    assert record["output"] == "out.png"
    assert record["output_size"] == "33x21"
    assert record["levels"] == [2, 1]
    assert record["alpha"] == [0.5, 0.5]
    assert record["seconds"] > 0


def test_a_color_of_a_mask_on_standard_input_is_refused(folder, capsys):
    with pytest.raises(SystemExit) as end:
        stylize.main(["--content", "photo.jpg", "--region", "-:ff0000", "a.png", "--model", "tiny.safetensors"])
    assert end.value.code == 2
    message = "error: a color of a mask cannot be taken from standard input: save the mask to a file\n"
    assert capsys.readouterr().err == message


def test_standard_input_and_output(folder):
    expected = run("out.png", "--style", "a.png")
    words = [*COMMON, "--style", "a.png", "--output", "-"]
    words[1] = "-"
    result = subprocess.run(
        [sys.executable, "-m", "uwct", "stylize", *words],
        input=Path("photo.jpg").read_bytes(),
        capture_output=True,
        check=True,
        env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"},
    )
    assert np.abs(pixels(io.BytesIO(result.stdout)) - expected).max() <= 1
    assert b"in the manner of a.png -> -" in result.stderr


def test_standard_input_can_be_asked_for_again(folder, monkeypatch):
    """The second time it was empty: by --patches, which look at a style twice, and by the second style of a folder."""

    def pipe(path):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(path).read_bytes())))

    pipe("a.png")
    piped = run("piped.png", "--style", "-", "--patches")
    np.testing.assert_array_equal(piped, run("out.png", "--style", "a.png", "--patches"))
    Path("styles").mkdir()
    Path("results").mkdir()
    for name in ("a.png", "b.png"):
        Path("styles", name).write_bytes(Path(name).read_bytes())
    words = ["--content", "-", "--style", "styles", "--output", "results", *COMMON[2:], "--resume"]
    results = [Path("results/stdin_a.png"), Path("results/stdin_b.png")]
    made = []
    for content in ("photo.jpg", "photo.jpg", "b.png"):  # the second time all is there, the third it is another photo
        pipe(content)
        stylize.main(words)
        made.append([(path.stat().st_mtime_ns, path.read_bytes()) for path in results])
    assert made[0] == made[1]
    assert all(before[1] != after[1] for before, after in zip(made[1], made[2], strict=True))


@pytest.mark.parametrize(
    ("stream", "option", "sentence"),
    [
        ("stdin", "--content", "standard input is closed: nothing can be read from it"),
        ("stdout", "--output", "standard output is closed: nothing can be written to it"),
    ],
)
def test_standard_input_and_output_can_be_closed(folder, capsys, monkeypatch, stream, option, sentence):
    """As <&- and >&- do in a shell."""
    monkeypatch.setattr(sys, stream, None)
    with pytest.raises(SystemExit) as stop:
        stylize.main([*COMMON, "--style", "a.png", option, "-"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--region", "left.png"], "no --region has a style, nor is there a --style"),
        (["--region", "none.png", "a.png"], "there is no picture none.png"),
        (["--region", "left.png", "none.png"], "there is no picture none.png"),
        (["--region", "left.png", "a.png:0"], "must not all be 0"),
        (["--region", "left.png", "a.png", "--region-alpha", "1", "1"], "1 --region need as many numbers"),
        (
            ["--region", "left.png", "a.png", "--region-alpha", "1.5"],
            "--region-alpha must lie between 0 and 1",
        ),
        (["--style", "a.png", "--region-alpha", "1"], "--region-alpha needs a --region"),
        (["--region", "left.png", "a.png", "--compat", "floor"], "as other projects do, which have no --region"),
        (["--style", "a.png", "--style-mask", "left.png", "left.png"], "--style-mask needs one mask for each of 1"),
        (["--style", "a.png", "--keep-colors", "luminance", "--compat", "floor"], "which have no --keep-colors"),
        (["--style", "a.png", "--steps", "--output", "-"], "--steps writes further files beside the output"),
        (["--style", "a.png", "--json", "--output", "-"], "--json would be mixed with the picture"),
        (["--region", "left.png", "a.png", "--output", "left.png"], "--output would overwrite left.png"),
    ],
)
def test_bad_input_is_one_sentence(masks, capsys, words, sentence):
    before = sorted(masks.iterdir())
    with pytest.raises(SystemExit) as stop:
        stylize.main([*COMMON, *words])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert sorted(masks.iterdir()) == before


def test_masks_of_the_whole_picture_and_of_nothing(masks):
    Image.new("L", (5, 5), 255).save("all.png")
    Image.new("L", (5, 5), 0).save("nothing.png")
    whole = run("x.png", "--style", "a.png")
    assert np.abs(run("y.png", "--region", "all.png", "a.png") - whole).max() <= 1
    assert np.abs(run("z.png", "--region", "nothing.png", "b.png", "--style", "a.png") - whole).max() <= 1
