from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import uwct
from uwct.cli import evaluate
from uwct.judge.evaluation import content_distance, load_judge, statistics, style_distance
from uwct.pictures import images


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


def test_evaluating_goes_on_past_a_result_that_is_not_finite(folder, capsys, monkeypatch):
    def broken(model, photo, *args, **kwargs):
        raise FloatingPointError("level 1: the decoded picture is not finite")

    monkeypatch.setattr(evaluate, "stylize", broken)
    with pytest.raises(SystemExit) as end:
        evaluate.main(["--contents", ".", "--styles", ".", "--model", "tiny.safetensors", "--size", "112"])
    assert end.value.code == 1
    assert capsys.readouterr().err.count("the decoded picture is not finite") == 9
    assert Path("evaluation.jpg").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--contents", "none"], "there is no folder none"),
        (["--contents", "a.png"], "there is no folder a.png"),
        (["--size", "32"], "is too small to be judged"),
        (["--output", "none/sheet.png"], "the output folder none does not exist"),
        (["--output", "a.png"], "--output would overwrite a.png"),
        (["--size", "-5"], "--size must lie between 0 and 2^31, not -5"),
        (["--levels", "9"], "level must be one of"),
        (["--model", "vgg99"], "there is no model called vgg99"),
    ],
)
def test_bad_evaluation_input_gives_one_sentence_and_code_2(folder, capsys, words, message):
    options = {"--contents": ".", "--styles": ".", "--model": "tiny.safetensors", "--size": "128"}
    options |= dict([words])
    with pytest.raises(SystemExit) as end:
        evaluate.main([word for option in options.items() for word in option])
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not list(folder.rglob("evaluation*"))
