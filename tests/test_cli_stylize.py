import shutil
import typing
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import picture
from PIL import Image, ImageCms

import uwct
from uwct.cli import stylize, texture
from uwct.cli.look import Look, Name
from uwct.networks.model import load
from uwct.pictures import images
from uwct.pipeline import whole
from uwct.pipeline.presets import PRESETS


def run(*words):
    stylize.main([*map(str, words), "--model", "tiny.safetensors"])


def make(*words):
    texture.main([*map(str, words), "--model", "tiny.safetensors"])


def test_the_output_has_the_photos_size_and_one_line_says_what_was_done(folder, capsys):
    run("--content", "photo.jpg", "--style", "a.png", "--output", "out.png", "--levels", "1", "3")
    assert Image.open("out.png").size == (33, 21)
    (line,) = capsys.readouterr().out.splitlines()
    assert (
        "photo.jpg (33x21) in the manner of a.png -> out.png (33x21): model tiny.safetensors, monge at levels 3:"
        in line
    )


def test_size_names_the_long_side_and_the_output_is_named_after_both(folder, capsys):
    run("--content", "photo.jpg", "--style", "a.png", "--levels", "1", "--size", "66")
    assert Image.open("photo_a.png").size == (66, 42)
    assert "photo.jpg (33x21) in the manner of a.png -> photo_a.png (66x42)" in capsys.readouterr().out


def test_levels_run_from_deep_to_shallow_with_their_own_alphas(folder):
    run(
        "--content", "photo.jpg", "--style", "a.png", "--levels", "1", "3", "--alpha", "0.9", "0.2", "--output", "x.png"
    )
    run(
        "--content", "photo.jpg", "--style", "a.png", "--levels", "3", "1", "--alpha", "0.2", "0.9", "--output", "y.png"
    )
    run(
        "--content", "photo.jpg", "--style", "a.png", "--levels", "3", "1", "--alpha", "0.9", "0.2", "--output", "z.png"
    )
    assert Path("x.png").read_bytes() == Path("y.png").read_bytes()
    assert Path("x.png").read_bytes() != Path("z.png").read_bytes()


@pytest.mark.parametrize("several", [("--style", "a.png", "b.png"), ("--style", "a.png", "--style", "b.png")])
def test_several_styles_are_mixed_by_their_weights(folder, several):
    common = ("--content", "photo.jpg", "--levels", "1", "--output")
    run(*common, "mixed.png", *several, "--style-weights", "0", "2")
    run(*common, "second.png", "--style", "b.png")
    mixed, second = (np.asarray(Image.open(p), float) for p in ("mixed.png", "second.png"))
    assert np.abs(mixed - second).max() <= 1


def test_weights_can_differ_from_level_to_level(folder):
    words = ("--style", "a.png", "b.png", "--style-weights", "1", "0", "1", "3", "--levels", "1", "3")
    run("--content", "photo.jpg", *words, "--style-size", "0", "--dtype", "float32", "--output", "x.png")
    photo, *styles = (jnp.asarray(images.read(name).rgb) for name in ("photo.jpg", "a.png", "b.png"))
    look = Look(levels=(3, 1)).resolve()
    expected = whole.stylize(
        load("tiny.safetensors"), photo, styles, look.levels, look.alpha, weights=[[1, 0], [0.25, 0.75]],
        transform=uwct.monge, shrinkage=look.shrinkage,
    )  # fmt: skip
    assert np.abs(np.asarray(Image.open("x.png"), float) - 255 * np.clip(expected, 0, 1)).max() < 1


def test_whitening_needs_no_style(folder):
    run("--content", "photo.jpg", "--transform", "whiten", "--levels", "2", "--alpha", "1", "--output", "white.png")
    run("--content", "photo.jpg", "--transform", "whiten", "--levels", "2", "--style", "a.png", "--alpha", "1")
    assert Path("white.png").read_bytes() == Path("photo_a.png").read_bytes()


def test_patches_are_taken_from_the_style_at_the_deepest_level(folder):
    exact = ("--style-size", "0", "--dtype", "float32")
    run("--content", "photo.jpg", "--style", "a.png", "--patches", "--levels", "2", "1", *exact, "--output", "x.png")
    model, look = load("tiny.safetensors"), Look(levels=(2, 1)).resolve()
    photo, style = (images.read(name).rgb for name in ("photo.jpg", "a.png"))
    how = {"transform": uwct.monge, "shrinkage": look.shrinkage}
    expected = whole.stylize(model, photo, style, look.levels, look.alpha, patches=True, **how)
    assert np.abs(np.asarray(Image.open("x.png"), float) - 255 * np.clip(expected, 0, 1)).max() < 1


def test_textures_between_styles_and_on_the_way_from_one_to_another(folder, capsys):
    common = ("--style", "a.png", "b.png", "--levels", "1", "--shape", "24", "16")
    make(*common, "--gradient", "--output", "x.png")
    assert Image.open("x.png").size == (24, 16)
    make(*common, "--frames", "3", "--output", "y.png")
    assert "-> y.000.png to y.002.png (24x16)" in capsys.readouterr().out
    frames = [np.asarray(Image.open(f"y.00{i}.png"), float) for i in range(3)]
    make("--style", "b.png", "--levels", "1", "--shape", "24", "16", "--output", "b.png.png")
    assert np.abs(frames[2] - np.asarray(Image.open("b.png.png"), float)).max() <= 1
    assert np.abs(frames[1] - frames[0]).max() > 2
    assert not Path("y.png").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--frames", "3"), "--frames takes two styles or more"),
        (("--frames", "2000", "--style", "b.png"), "--frames must lie between 2 and 1000, not 2000"),
        (("--frames", "-1"), "--frames must lie between 2 and 1000, not -1"),
        (("--gradient",), "--gradient takes two or four styles"),
        (("--shape", "0", "30"), "--shape must be two numbers from 1 to 2^31, not 0"),
        (("--size", "0"), "--size must be at least 1"),
        (("--seed", str(2**63)), "--seed must lie between 0 and 2^32"),
        (("--seed", "-1"), "--seed must lie between 0 and 2^32, not -1"),
        (("--style", "b.png", "--gradient", "--seamless"), "--gradient and --seamless do not go together"),
        (("--json", "--output", "-"), "--json would be mixed with the picture"),
        (("--transform", "whiten", "--refine"), "--refine goes towards a style, and --transform whiten has none"),
        (("--resume",), "--resume needs a folder as --style"),
        (("--style", "b.png", "--style-weights", "1", "1", "1"), "2 styles need as many --style-weights, or 8 for 4"),
    ],
)
def test_textures_that_cannot_be_made_are_refused(folder, capsys, words, sentence):
    with pytest.raises(SystemExit) as end:
        make("--style", "a.png", *words)
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err


def test_textures_of_a_folder_of_styles_are_recorded_and_resumed(folder, capsys):
    for name in ("styles", "out"):
        Path(name).mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(name, "styles")
    words = ("--style", "styles", "--levels", "1", "--size", "24", "--output", "out")
    make(*words)
    made = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}
    assert len(made) == 2
    removed = min(made)
    removed.unlink()
    make(*words, "--resume")
    assert "1 of 2 pictures are finished already" in capsys.readouterr().err
    again = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}
    assert {path for path in made if again[path] != made[path]} == {removed}


def test_textures_need_no_content_and_follow_the_seed(folder):
    for name, seed in (("x.png", 1), ("y.png", 1), ("z.png", 2)):
        make("--style", "a.png", "--levels", "1", "--size", "24", "--seed", seed, "--output", name)
    assert Image.open("x.png").size == (24, 24)
    assert Path("x.png").read_bytes() == Path("y.png").read_bytes()
    assert Path("x.png").read_bytes() != Path("z.png").read_bytes()


def test_a_folder_is_stylized_into_a_folder_and_bad_pictures_are_named_at_the_end(folder, capsys):
    Path("photos").mkdir()
    Path("out").mkdir()
    Image.open("photo.jpg").save("photos/one.jpg")
    Image.open("photo.jpg").save("photos/two.bmp")
    Path("photos/bad.png").write_text("no picture")
    Path("photos/notes.txt").write_text("not meant to be one")
    with pytest.raises(SystemExit) as end:
        run("--content", "photos", "--style", "a.png", "--levels", "1", "--output", "out")
    assert end.value.code == 1
    assert sorted(p.name for p in Path("out").iterdir()) == ["manifest.jsonl", "one.jpg", "two.bmp.png"]
    assert "photos/bad.png is not a picture" in capsys.readouterr().err


def test_a_folder_of_styles_is_used_in_turn_with_its_subfolders(folder, capsys):
    for name in ("styles/cubism", "out"):
        Path(name).mkdir(parents=True)
    Image.open("a.png").save("styles/a.png")
    Image.open("b.png").save("styles/cubism/b.png")
    Path("styles/cubism/bad.jpg").write_text("no picture")
    with pytest.raises(SystemExit) as end:
        run("--content", "photo.jpg", "--style", "styles", "--levels", "1", "--output", "out")
    assert end.value.code == 1
    assert sorted(p.name for p in Path("out").iterdir()) == ["manifest.jsonl", "photo_a.jpg", "photo_cubism_b.jpg"]
    assert capsys.readouterr().err.count("styles/cubism/bad.jpg is not a picture") == 1
    run("--content", "photo.jpg", "--style", "b.png", "--levels", "1", "--output", "alone.jpg")
    assert Path("alone.jpg").read_bytes() == Path("out/photo_cubism_b.jpg").read_bytes()
    with pytest.raises(SystemExit) as end:
        run("--content", "photo.jpg", "--style", "a.png", "styles", "--output", "out")
    assert end.value.code == 2
    assert "a folder as --style must be the only one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "output", "message"),
    [
        (["a.png", "a.jpg"], "out", "2 pictures would be written to out/photo_a.jpg"),
        (["x_a.png", "x/a.png"], "out", "2 pictures would be written to out/photo_x_a.jpg"),
        (["a.png"], "styles/out", "--output must lie outside the folder of styles"),
    ],
)
def test_no_style_of_a_folder_is_lost_or_made_of_results(folder, capsys, files, output, message):
    Path(output).mkdir(parents=True)
    for file in files:
        Path("styles", file).parent.mkdir(parents=True, exist_ok=True)
        Image.open("a.png").save(Path("styles", file))
    with pytest.raises(SystemExit) as end:
        run("--content", "photo.jpg", "--style", "styles", "--output", output)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(Path(output).iterdir())


def test_no_step_of_a_picture_takes_the_place_of_another_picture(folder, capsys):
    for name in ("photos", "out"):
        Path(name).mkdir()
    for name in ("cat.png", "cat.level1.png"):
        Image.open("photo.jpg").save(Path("photos", name))
    words = ("--content", "photos", "--style", "a.png", "--levels", "1", "--output", "out")
    with pytest.raises(SystemExit) as end:
        run(*words, "--steps")
    assert end.value.code == 2
    assert "2 pictures would be written to out/cat.level1.png; rename their files" in capsys.readouterr().err
    assert not list(Path("out").iterdir())


def test_a_device_without_memory_for_one_photo_does_the_others(folder, capsys, monkeypatch):
    def small_device(model, photo, *args, **kwargs):
        if photo.shape[0] > 30:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return photo

    monkeypatch.setattr(whole, "painted", small_device)
    for name in ("photos", "out"):
        Path(name).mkdir()
    Image.open("photo.jpg").save("photos/small.png")
    Image.open("photo.jpg").resize((40, 40)).save("photos/large.png")
    with pytest.raises(SystemExit) as end:
        run("--content", "photos", "--style", "a.png", "--output", "out")
    assert end.value.code == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["manifest.jsonl", "small.png"]
    assert "out/large.png: the device has not enough memory" in capsys.readouterr().err


def test_folders_of_photos_and_of_styles_give_every_pair(folder):
    for name in ("photos", "styles", "out"):
        Path(name).mkdir()
    Image.open("photo.jpg").save("photos/one.jpg")
    Image.open("photo.jpg").save("photos/two.bmp")
    for name in ("a.png", "b.png"):
        Image.open(name).save(Path("styles", name))
    run("--content", "photos", "--style", "styles", "--levels", "1", "--output", "out")
    names = ["manifest.jsonl", "one_a.jpg", "one_b.jpg", "two_a.png", "two_b.png"]
    assert sorted(p.name for p in Path("out").iterdir()) == names


def test_presets_are_their_settings_and_options_replace_one_of_them(folder):
    common = ("--content", "photo.jpg", "--style", "a.png", "--output")
    run(*common, "preset.png", "--preset", "shallow")
    look = PRESETS["shallow"]
    settings = ("--alpha", *look.alpha, "--style-size", look.style_size, "--transform", look.transform)
    run(*common, "same.png", "--levels", *look.levels, *settings, "--shrinkage", look.shrinkage)
    assert Path("preset.png").read_bytes() == Path("same.png").read_bytes()
    for i, option in enumerate([("--alpha", 0), ("--transform", "wct"), ("--shrinkage", 1), ("--style-size", 16)]):
        run(*common, f"{i}.png", "--preset", "shallow", *option)
        assert Path(f"{i}.png").read_bytes() != Path("preset.png").read_bytes()


def test_alpha_and_profile_go_through(folder):
    photo = Image.open("photo.jpg").convert("RGBA")
    photo.putalpha(Image.fromarray(np.uint8(np.linspace(0, 255, 21 * 33)).reshape(21, 33)))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo.save("rgba.png", icc_profile=profile)
    run("--content", "rgba.png", "--style", "a.png", "--levels", "1", "--output", "out.png")
    out = Image.open("out.png")
    np.testing.assert_array_equal(out.getchannel("A"), photo.getchannel("A"))
    assert out.info["icc_profile"] == profile


BAD = {
    "missing photo": (("--content", "none.jpg"), "there is no picture none.jpg"),
    "missing photo into a folder": (("--content", "none.jpg", "--output", "."), "there is no picture none.jpg"),
    "missing style": (("--style", "none.jpg"), "there is no picture none.jpg"),
    "not a picture": (("--content", "tiny.safetensors"), "tiny.safetensors is not a picture"),
    "truncated": (("--content", "truncated.jpg"), "truncated.jpg cannot be read as a picture"),
    "zero bytes": (("--content", "empty.jpg"), "empty.jpg is not a picture"),
    "a folder of styles into nowhere": (("--style", "."), "needs a folder as --output"),
    "a folder among styles": (("--style", "a.png", ".", "--output", "."), "must be another folder"),
    "no style": (("--style",), "--style needs at least one picture"),
    "level 6": (("--levels", "6"), "level must be one of 1, 2, 3, 4, 5, not 6"),
    "level twice": (("--levels", "2", "2"), "--levels must name levels, each once"),
    "no level": (("--levels",), "--levels must name levels, each once"),
    "alpha 1.5": (("--alpha", "1.5"), "--alpha must lie between 0 and 1, not 1.5"),
    "alpha nan": (("--alpha", "nan"), "--alpha must lie between 0 and 1, not nan"),
    "too many alphas": (("--alpha", "1", "0"), "--alpha must be one number or 1, one a level, not 2"),
    "patches in windows": (("--patches", "--tile", "64"), "--patches compares the whole photo with the style"),
    "patches of a small photo": (
        ("--patches", "--levels", "5"),
        "photo.jpg at 33x21 pixels is too small for --patches at level 5: 33 are needed a side",
    ),
    "patches of a small style": (
        ("--patches", "--levels", "4", "--style-size", "16"),
        "a.png at 16x11 pixels is too small for --patches at level 4: 17 are needed a side",
    ),
    "patches of two styles": (("--patches", "--style", "a.png", "b.png"), "--patches takes one style picture"),
    "steps of other projects": (("--compat", "floor", "--steps"), "as other projects do, which have no --steps"),
    "more weights than styles": (
        ("--style-weights", "1", "1"),
        "1 styles need as many --style-weights, not 2",
    ),
    "negative weight": (("--style-weights", "-1"), "--style-weights must not be negative"),
    "zero weights": (("--style-weights", "0"), "--style-weights must not be negative, nor all 0"),
    "negative size": (("--size", "-5"), "--size must lie between 0 and 2^31, not -5"),
    "negative style size": (("--style-size", "-1"), "--style-size must lie between 0 and 2^31, not -1"),
    "shrinkage 2": (("--shrinkage", "2"), "--shrinkage must lie between 0 and 1, not 2"),
    "huge size": (("--size", str(2**31)), "--size must lie between 0 and 2^31"),
    "the photo as output": (("--output", "photo.jpg"), "--output would overwrite photo.jpg"),
    "a step over a style": (
        ("--style", "x.level1.png", "--output", "x.png", "--steps"),
        "would overwrite x.level1",
    ),
    "a style as output": (("--output", "./a.png"), "--output would overwrite a.png"),
    "infinite weight": (("--style-weights", "inf"), "--style-weights must not be negative, nor all 0"),
    "weight nan after another": (
        ("--style", "a.png", "b.png", "--style-weights", "1", "nan"),
        "--style-weights must not be negative, nor all 0, not [1.0, nan]",
    ),
    "weight nan": (("--style-weights", "nan"), "--style-weights must not be negative, nor all 0"),
    "standard input for two": (("--content", "-", "--style", "-"), "standard input (-) is one picture: name it once"),
    "missing output folder": (("--output", "none/out.png"), "the output folder none does not exist"),
    "output in a file": (("--output", "a.png/out.png"), "a.png is not a folder"),
    "unknown output format": (("--output", "out.xyz"), "out.xyz must end in one of .png"),
    "folder into nowhere": (("--content", "."), "needs a folder as --output"),
    "folder into itself": (("--content", ".", "--output", "."), "must be another folder"),
    "unknown model": (("--model", "vgg99"), "there is no model called vgg99"),
    "broken model": (("--model", "a.png"), "a.png is not a readable safetensors file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gives_one_sentence_code_2_and_no_file(folder, capsys, name):
    Path("truncated.jpg").write_bytes(Path("photo.jpg").read_bytes()[:500])
    Path("empty.jpg").write_bytes(b"")
    shutil.copy("a.png", "x.level1.png")
    before = sorted(folder.rglob("*"))
    words, message = BAD[name]
    options = {"--content": ["photo.jpg"], "--style": ["a.png"], "--levels": ["1"], "--model": ["tiny.safetensors"]}
    key = None
    for word in words:
        if word.startswith("--"):
            key, options[word] = word, []
        else:
            options[key].append(word)
    with pytest.raises(SystemExit) as end:
        stylize.main([word for option, values in options.items() for word in (option, *values)])
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(folder.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr(
        "uwct.pictures.images.os.access", lambda *_: False
    )  # the tests may run as root, who may write anywhere
    with pytest.raises(SystemExit) as end:
        run("--content", "photo.jpg", "--style", "a.png", "--output", "out.png")
    assert end.value.code == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_a_photo_that_would_not_fit_in_memory_is_refused_with_a_size_that_fits(folder, capsys, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=100_000))
    with pytest.raises(SystemExit) as end:
        run("--content", "photo.jpg", "--style", "a.png", "--levels", "1", "--style-size", "16", "--tile", "off")
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "photo.jpg at 33x21 pixels needs about 0.0 GiB" in error
    size = error.split("--size ")[1].strip()
    common = ("--content", "photo.jpg", "--style", "a.png", "--levels", "1", "--output", "out.png", "--tile", "off")
    run(*common, "--size", size, "--style-size", "16")
    assert Image.open("out.png").size[0] == int(size) < 33


@pytest.mark.parametrize("words", [["--levels", "x"], ["--unknown"], ["--dtype", "int8"]])
def test_the_parsers_own_errors_have_code_2_too(folder, words):
    with pytest.raises(SystemExit) as end:
        stylize.main(["--content", "photo.jpg", "--style", "a.png", *words])
    assert end.value.code == 2


def test_every_preset_can_be_named():
    names = typing.get_args(Name)
    assert set(names) == set(PRESETS)
    for name in names:
        assert Look(preset=name).resolve() == Look(preset=name, photo=True).resolve() == PRESETS[name]
    assert Look().resolve() == Look(photo=True).resolve() == PRESETS["paint"]


@pytest.mark.parametrize("tile", ["off", "96"])
def test_hidden_pixels_play_no_part_in_statistics(folder, tile):
    """Whatever colors a cut-out hides, in the photo or in the style, what is seen is the same."""
    alpha = np.zeros((64, 160), np.uint8)
    alpha[:, :80] = 255
    for name, seed in (("one", 8), ("two", 9)):
        for kind, of_kind in (("photo", 1), ("style", 2)):
            rgb = np.uint8(255 * picture(64, 160, of_kind))
            rgb[:, 80:] = np.uint8(255 * picture(64, 80, seed))
            Image.fromarray(np.dstack([rgb, alpha])).save(f"{kind}_{name}.png")
        words = ["--content", f"photo_{name}.png", "--style", f"style_{name}.png", "--levels", "1", "--tile", tile]
        run(*words, "--dtype", "float32", "--output", f"{name}.png")
    one, two = (np.asarray(Image.open(f"{name}.png"), int) for name in ("one", "two"))
    assert np.abs(one[:, :78] - two[:, :78]).max() <= 1
    assert np.abs(one[:, 82:] - two[:, 82:]).max() > 20


def test_a_style_of_which_nothing_is_seen_is_named(folder, capsys):
    Image.fromarray(np.zeros((20, 20, 4), np.uint8)).save("none.png")
    with pytest.raises(SystemExit):
        run("--content", "photo.jpg", "--style", "none.png")
    assert capsys.readouterr().err == "error: none.png is transparent everywhere, so shows no style\n"


@pytest.mark.parametrize("tile", ["off", "96"])
def test_what_the_photos_file_says_is_kept_unless_it_is_stripped(folder, tile):
    exif = Image.Exif()
    exif[271] = "Camera"
    Image.open("photo.jpg").save("told.jpg", exif=exif, dpi=(300, 300))
    common = ("--content", "told.jpg", "--style", "a.png", "--levels", "1", "--tile", tile, "--output")
    run(*common, "kept.jpg")
    run(*common, "bare.jpg", "--strip-metadata", "--quality", "30")
    kept, bare = (Image.open(f"{name}.jpg") for name in ("kept", "bare"))
    assert (kept.getexif()[271], kept.info["dpi"]) == ("Camera", (300, 300))
    assert 271 not in bare.getexif()
    assert bare.info.get("dpi") != (300, 300)
    assert Path("bare.jpg").stat().st_size < 0.9 * Path("kept.jpg").stat().st_size


def test_of_a_clip_the_first_frame_is_taken_and_that_is_said(folder, capsys):
    frames = [Image.open("photo.jpg").rotate(90 * i) for i in range(3)]
    for name in ("clip.webp", "clip.gif", "clip.png", "pages.tif"):
        frames[0].save(name, save_all=True, append_images=frames[1:])
        run("--content", name, "--style", "a.png", "--levels", "1", "--output", "out.png")
        others = "" if name == "pages.tif" else "; uwct video takes them all"
        assert capsys.readouterr().err == f"{name} has 3 frames, of which the first is taken{others}\n"
