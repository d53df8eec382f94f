import io
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import cutouts, picture
from PIL import Image

import uwct
from uwct.cli import bench, evaluate
from uwct.judge.evaluation import content_distance, load_judge, statistics, style_distance
from uwct.pictures import images
from uwct.pictures.contact_sheet import GAP
from uwct.pipeline import whole


def test_evaluating_prints_a_table_and_draws_a_contact_sheet(folder, capsys, tiny_model):
    for name in ("contents", "styles"):
        Path(name).mkdir()
    Image.open("photo.jpg").resize((112, 72)).save("contents/photo.png")
    for name in ("a.png", "b.png"):
        Image.open(name).resize((112, 80)).save(Path("styles", name))
    words = ["--contents", "contents", "--styles", "styles", "--model", "tiny.safetensors", "--size", "112"]
    words += ["--transform", "wct", "--shrinkage", "0", "--style-size", "64"]
    evaluate.main([*words, "--dtype", "float32", "--levels", "1", "--alpha", "0.9", "--output", "sheet.png"])
    head, rule, first, second, mean = capsys.readouterr().out.splitlines()
    assert head.count("|") == rule.count("|") == first.count("|") == mean.count("|") == 8
    numbers = np.array([[float(cell) for cell in line.split("|")[3:8]] for line in (first, second, mean)])
    np.testing.assert_allclose(numbers[:2, :4].mean(0), numbers[2, :4], atol=1e-3)

    photo, style = (images.read(path).rgb for path in ("contents/photo.png", "styles/b.png"))
    small = images.resize(images.Picture(style), (46, 64)).rgb
    result = np.clip(uwct.stylize(tiny_model, photo, jnp.asarray(small), (1,), 0.9), 0, 1)
    expected = []
    for judge in (load_judge("vgg16"), load_judge("alexnet")):
        expected.append(style_distance(statistics(judge, result), statistics(judge, jnp.asarray(style))))
        expected.append(content_distance(judge, jnp.asarray(photo), result))
    np.testing.assert_allclose(numbers[1, :4], expected, atol=2e-3)

    # On the sheet: the photo in the first column of the second row, the result for b in its third.
    sheet = images.read("sheet.png").rgb
    top = sheet.shape[0] // 2
    for column, shown in ((0, photo), (2, result)):
        left = column * sheet.shape[1] // 3
        part = sheet[top:, left : left + sheet.shape[1] // 3]
        places = [(y, x) for y in range(part.shape[0] - 72) for x in range(60, 100)]
        assert min(np.abs(part[y : y + 72, x : x + 112] - shown).mean() for y, x in places) < 0.01


@pytest.fixture
def compared(folder):
    """Two photos, two styles, a pair of them in a file, and what somebody else made of it."""
    for name in ("contents", "styles", "theirs"):
        Path(name).mkdir()
    for name in ("x.png", "y.png"):
        Image.open("photo.jpg").resize((112, 72)).save(Path("contents", name))
    for name in ("a.png", "b.png"):
        Image.open(name).resize((112, 80)).save(Path("styles", name))
    Image.open("contents/x.png").resize((56, 36)).save("theirs/x_b.jpg", quality=95)
    Path("pairs.txt").write_text("x b\n")
    words = ["--contents", "contents", "--styles", "styles", "--pairs", "pairs.txt", "--beside", "theirs"]
    return [*words, "--model", "tiny.safetensors", "--size", "112", "--levels", "1", "--output", "sheet.png"]


def test_pairs_are_measured_and_shown_beside_what_others_made(compared, capsys):
    evaluate.main(compared)
    head, _, ours, theirs, *means = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in head.split("|")[1:4]] == ["content", "style", "by"]
    assert [line.split("|")[3].strip() for line in (ours, theirs)] == ["uwct", "theirs"]
    numbers = [float(cell) for cell in theirs.split("|")[4:8]]
    photo, style = (jnp.asarray(images.read(path).rgb) for path in ("contents/x.png", "styles/b.png"))
    result = jnp.asarray(images.resize(images.read("theirs/x_b.jpg"), (72, 112)).rgb)
    expected = []
    for judge in (load_judge("vgg16"), load_judge("alexnet")):
        expected.append(float(style_distance(statistics(judge, result), statistics(judge, style))))
        expected.append(float(content_distance(judge, photo, result)))
    np.testing.assert_allclose(numbers, expected, atol=1e-3)
    assert [line.split("|")[3:8] for line in means] == [line.split("|")[3:8] for line in (ours, theirs)]
    assert Image.open("sheet.png").size[0] == 4 * (256 + 8) + 8


def test_standard_output_has_the_sheet_alone(compared, capfdbinary):
    evaluate.main([*compared, "--output", "-"])
    found = capfdbinary.readouterr()
    assert Image.open(io.BytesIO(found.out)).size[0] == 4 * (256 + 8) + 8
    assert found.out.endswith(b"IEND\xaeB`\x82")
    assert found.err.count(b"\n| x | b |") == 2


def test_several_others_are_each_a_row_and_a_column_called_by_their_folders(compared, capsys):
    Path("uwct").mkdir()
    Image.open("styles/b.png").save("uwct/x_b.png")
    evaluate.main([*compared, "--beside", "uwct", "--cell", "64"])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split("|")[3].strip() for line in lines] == 2 * ["uwct", "theirs", str(Path("uwct").resolve())]
    sheet = images.read("sheet.png").rgb
    assert sheet.shape[1] == 5 * (64 + 8) + 8
    band = sheet[-64 - 8 + 24 : -8 - 24]  # through the middle of all pictures
    photo, style, _, theirs, last = (band[:, 8 + 72 * j : 72 * j + 72].mean((0, 1)) for j in range(5))
    np.testing.assert_allclose(last, style, atol=0.05)
    np.testing.assert_allclose(theirs, photo, atol=0.05)
    assert np.abs(style - photo).max() > 0.05


def test_means_compare_the_same_pairs(compared, capsys):
    Path("pairs.txt").write_text("x b\ny b\n")
    Path("theirs/y_b.png").write_text("broken")
    with pytest.raises(SystemExit) as end:
        evaluate.main(compared)
    assert end.value.code == 1
    captured = capsys.readouterr()
    assert "y_b.png is not a picture" in captured.err
    first, second, third, *means = captured.out.splitlines()[2:]
    assert [line.split("|")[1:4:2] for line in (first, second, third)] == [[" x ", " uwct "], [" x ", " theirs "],
                                                                           [" y ", " uwct "]]  # fmt: skip
    assert [line.split("|")[3:8] for line in means] == [line.split("|")[3:8] for line in (first, second)]


def test_styles_are_encoded_and_photos_read_once_for_a_curve(compared, monkeypatch):
    read = []

    def noting(function):
        return lambda path, *rest, **how: read.append(path) or function(path, *rest, **how)

    for name in ("encode_file", "judged"):
        monkeypatch.setattr(bench, name, noting(getattr(bench, name)))
    Path("pairs.txt").write_text("x b\nx a\ny b\n")
    Path("theirs/x_a.png").write_bytes(Path("styles/a.png").read_bytes())
    Path("theirs/y_b.png").write_bytes(Path("styles/b.png").read_bytes())
    evaluate.main([*compared, "--curve", "0", "0.5", "1"])
    names = sorted(path.name for path in read)
    assert names == ["a.png", "a.png", "b.png", "b.png", "x.png", "y.png"]  # styles: as judged, and encoded


def test_a_curve_over_strengths_says_where_others_lie(compared, capsys):
    evaluate.main([*compared, "--curve", "0", "0.5", "5"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:6]] == ["0", "0.5", "5", "theirs"]
    assert not Path("sheet.png").exists()
    means = [[float(cell) for cell in line.split("|")[2:6]] for line in lines[2:6]]
    evaluate.main([*compared, "--alpha", "1"])  # what no factor goes beyond
    found = capsys.readouterr().out.splitlines()[2].split("|")
    np.testing.assert_allclose(means[2], [float(cell) for cell in found[4:8]], atol=1e-3)
    assert means[0] != means[1] != means[2]
    assert "compared at equal LPIPS" in lines[7]
    assert [line.split(",")[0] for line in lines[9:]] == ["- by VGG-16", "- by AlexNet"]
    assert all("theirs lies " in line or "theirs has LPIPS" in line for line in lines[9:])


def test_the_table_of_reconstruction_says_how_well_photographs_come_back(folder, capsys, tiny_model):
    Path("photographs").mkdir()
    for name, shape in (("x.png", (112, 72)), ("y.png", (96, 64))):
        Image.open("photo.jpg").resize(shape).save(Path("photographs", name))
    Image.open("photo.jpg").resize((200, 60)).save("photographs/narrow.png")
    words = ["--model", "tiny.safetensors", "--dtype", "float32", "--size", "0"]
    with pytest.raises(SystemExit) as end:
        evaluate.main(["--reconstruction", "photographs", *words])
    assert end.value.code == 1
    captured = capsys.readouterr()
    assert captured.err.endswith(
        "error: photographs/narrow.png at 200x60 pixels is too small to be judged: 64 are needed a side\n"
    )
    lines = [line.split("|")[1:-1] for line in captured.out.splitlines()]
    assert [cell.strip() for cell in lines[0]] == ["levels", "PSNR (dB)", "LPIPS (VGG-16)", "LPIPS (AlexNet)"]
    assert [line[0].strip() for line in lines[2:]] == ["1", "2", "3", "4", "5", "4 3 2 1"]
    photos = [images.read(Path("photographs", name)).rgb for name in ("x.png", "y.png")]
    for line, levels in ((lines[3], (2,)), (lines[7], (4, 3, 2, 1))):
        expected = []
        for photo in photos:
            result = np.clip(uwct.stylize(tiny_model, photo, jnp.asarray(photo), levels, 0.0), 0, 1)
            mse = np.square(np.float64(result) - photo).mean()
            judges = (load_judge("vgg16"), load_judge("alexnet"))
            expected.append([-10 * np.log10(mse), *(content_distance(judge, photo, result) for judge in judges)])
        np.testing.assert_allclose([float(cell) for cell in line[1:]], np.mean(expected, axis=0), atol=1e-2)
    assert not Path("evaluation.jpg").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--reconstruction", "."], "is too small to be judged"),
        (["--reconstruction", "none"], "there is no folder none"),
        (["--reconstruction", ".", "--contents", "."], "does not go with --contents"),
        (["--reconstruction", ".", "--curve", "1"], "does not go with --curve"),
        (["--reconstruction", ".", "--style-size", "9"], "does not go with --style-size"),
        (["--reconstruction", ".", "--refine"], "does not go with --refine"),
        (["--reconstruction", ".", "--refine-steps", "9"], "does not go with --refine-steps"),
        (["--contents", ".", "--styles", ".", "--transform", "whiten", "--refine"], "--refine goes towards a style"),
        (["--contents", "."], "give folders as --contents and --styles, or one as --reconstruction"),
        ([], "give folders as --contents and --styles, or one as --reconstruction"),
    ],
)
def test_what_is_evaluated_must_be_clear(folder, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        evaluate.main([*words, "--model", "tiny.safetensors", "--size", "33"])
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.splitlines()[-1].startswith("error: ")
    assert captured.out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pairs", "none.txt"], "none.txt"),
        (["--beside", "contents"], "the folder contents holds no picture x_b"),
        (["--beside", "nowhere"], "there is no folder nowhere"),
        (["--beside", "theirs"], "the folder theirs is given twice"),
        (["--output", "theirs/x_b.jpg"], "--output would overwrite theirs/x_b.jpg"),
        (["--cell", "8"], "--cell must lie between 32 and 4096, not 8"),
        (["--curve", "-1"], "--curve must hold numbers of 0 or more, not -1"),
        (["--curve", "nan"], "--curve must hold numbers of 0 or more, not nan"),
    ],
)
def test_comparisons_that_cannot_be_made_are_one_sentence(compared, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        evaluate.main([*compared, *words])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_pictures_that_cannot_be_read_are_passed_over_and_named(compared, capsys):
    for name in ("contents/bad.png", "styles/bad.jpg"):
        Path(name).write_bytes(b"no picture")
    for name in ("contents/narrow.png", "styles/narrow.png"):
        Image.open("a.png").resize((200, 60)).save(name)
    words = [word for word in compared if word not in ("--pairs", "pairs.txt", "--beside", "theirs")]
    with pytest.raises(SystemExit) as end:
        evaluate.main(words)
    assert end.value.code == 1
    captured = capsys.readouterr()
    assert [line for line in captured.err.splitlines() if line.startswith("error")] == [
        "error: contents/bad.png is not a picture in a format that can be read",
        "error: contents/narrow.png at 112x34 pixels is too small to be judged: 64 are needed a side",
        "error: styles/bad.jpg is not a picture in a format that can be read",
        "error: styles/narrow.png at 112x34 pixels is too small to be judged: 64 are needed a side",
    ]
    assert captured.out.count("\n| x |") == captured.out.count("\n| y |") == 2


def test_evaluating_goes_on_past_a_result_that_is_not_finite(folder, capsys, monkeypatch):
    def broken(model, photo, *args, **kwargs):
        raise FloatingPointError("level 1: the decoded picture is not finite")

    monkeypatch.setattr(whole, "painted", broken)
    with pytest.raises(SystemExit) as end:
        evaluate.main(["--contents", ".", "--styles", ".", "--model", "tiny.safetensors", "--size", "112"])
    assert end.value.code == 1
    assert capsys.readouterr().err.count("the decoded picture is not finite") == 9
    assert Path("evaluation.jpg").exists()


def test_what_a_photo_hides_changes_nothing_that_is_seen(folder):
    for name in ("contents", "styles"):
        Path(name).mkdir()
    Image.open("a.png").resize((112, 80)).save("styles/a.png")
    sheets = []
    for photo in cutouts(picture(72, 112, 1)):
        photo.save("contents/x.png")
        words = ["--contents", "contents", "--styles", "styles", "--model", "tiny.safetensors", "--size", "112"]
        evaluate.main([*words, "--dtype", "float32", "--levels", "1", "--cell", "112", "--output", "sheet.png"])
        sheets.append(np.asarray(Image.open("sheet.png"), int))
    one, two = (sheet[-GAP - 92 : -GAP - 20, -GAP - 112 : -GAP] for sheet in sheets)  # the last cell
    assert np.abs(one - two)[:, :56].max() <= 1
    assert np.abs(one - two)[:, 64:].max() > 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--contents", "none"], "there is no folder none"),
        (["--contents", "a.png"], "there is no folder a.png"),
        (["--size", "32"], "is too small to be judged"),
        (["--output", "none/sheet.png"], "the output folder none does not exist"),
        (["--output", "a.png"], "--output would overwrite a.png"),
        (["--output", "folder.png"], "folder.png is a folder; name a file to write"),
        (["--size", "-5"], "--size must lie between 0 and 2^31, not -5"),
        (["--levels", "9"], "level must be one of"),
        (["--model", "vgg99"], "there is no model called vgg99"),
    ],
)
def test_bad_evaluation_input_gives_one_sentence_and_code_2(folder, capsys, words, message):
    Path("folder.png").mkdir()
    options = {"--contents": ".", "--styles": ".", "--model": "tiny.safetensors", "--size": "128"}
    options |= dict([words])
    with pytest.raises(SystemExit) as end:
        evaluate.main([word for option in options.items() for word in option])
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not list(folder.rglob("evaluation*"))
