from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from uwct.cli import stylize, train
from uwct.model import load, training_history


def test_training_writes_a_model_that_stylizes(folder, photographs, capsys):
    words = ["--data", f"folder:{photographs}", "--test", f"folder:{photographs}", "--test-crop", "32", "--steps", "2"]
    words += ["--batch", "2", "--crop", "16", "--decoder-width", "0.1", "--output", "run"]
    train.main([*words, "--levels", "2"])
    assert "level 2: test " in capsys.readouterr().out
    first = load("run/model.safetensors").params["decoder2"]
    train.main([*words, "--levels", "1", "--optimizer", "least-squares"])
    train.main([*words, "--levels", "3", "--bridge-steps", "2"])
    train.main([*words, "--levels", "2"])  # finished, so its checkpoint is all that is needed
    jax.tree.map(np.testing.assert_array_equal, load("run/model.safetensors").params["decoder2"], first)
    assert load("run/model.safetensors").levels == (1, 2, 3)
    train.main([*words, "--levels", "2", "--steps", "3", "--init", "run/model.safetensors", "--output", "again"])
    record = training_history("again/model.safetensors")["decoder2"]
    assert "--steps 3" in record["command"]
    assert "--steps 2" in record["before"]["command"]
    assert "before" not in record["before"]
    train.main([*words, "--levels", "2", "--steps", "3", "--init", "run/model.safetensors", "--output", "again"])
    assert training_history("again/model.safetensors")["decoder2"]["before"] == record["before"]
    words = ["--style", "a.png", "--levels", "2", "1", "--model", "run/model.safetensors", "--output", "o.png"]
    stylize.main(["--content", "photo.jpg", *words])
    assert Image.open("o.png").size == (33, 21)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "photos"], "data must have the form folder:PATH"),
        (["--data", "folder:none"], "there is no folder none"),
        (["--data", "folder:.", "--levels", "2", "--optimizer", "least-squares"], "least-squares solves level 1 only"),
        (["--data", "folder:.", "--levels", "1", "2", "--bridge-steps", "9"], "level 1 has no shallower level"),
        (["--data", "folder:.", "--test-crop", "225"], "test_crop must be a positive multiple of 16, not 225"),
        (["--data", "folder:.", "--save-every", "0"], "save_every must be at least 1"),
        (["--data", "folder:.", "--seed", "-1"], "seed must lie between 0 and 2^32, not -1"),
        (["--data", "folder:.", "--levels", "7"], "level must be one of 1, 2, 3, 4, 5, not 7"),
        (["--data", "folder:.", "--backbone", "resnet"], "backbone must be one of vgg16"),
        (["--data", "folder:.", "--init", "tiny.safetensors", "--levels", "1"], "is another network"),
    ],
)
def test_bad_training_input_gives_one_sentence_and_code_2(folder, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        train.main(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()


def test_measuring_writes_what_backbones_are_normalised_by(folder, photographs, monkeypatch):
    from uwct.cli import measure
    from uwct.model import backbone

    measure.main(
        ["--data", f"folder:{photographs}", "--output", "vgg16_means.safetensors", "--count", "2", "--crop", "32"]
    )
    monkeypatch.setattr("uwct.model.WEIGHTS", folder)
    assert all(variance > 0 for variance in backbone("vgg16").config.variances)
