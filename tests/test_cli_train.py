import re
from pathlib import Path

import jax
import numpy as np
import pytest
import test_photographs  # which defines the data set tiny_photographs
from PIL import Image

from uwct.cli import stylize, train
from uwct.networks.model import load, training_history
from uwct.training import recorder
from uwct.training.config import RECIPES

SMALL = ["--batch", "2", "--crop", "16", "--test-crop", "64", "--backbone", "tiny.safetensors"]
SMALL += ["--decoder-width", "0.75"]


def test_training_writes_a_model_that_stylizes(folder, photographs, capsys):
    words = ["--data", f"folder:{photographs}", "--test", f"folder:{photographs}", *SMALL, "--steps", "2"]
    words += ["--output", "run"]
    train.main([*words, "--levels", "2"])
    table = Path("run/table.md").read_text()
    assert re.search(
        r"\| level 2 \(relu2_1\) \| \d+\.\d{4} \| \d+\.\d{4} \| -?\d+\.\d\d \| -?\d\.\d{3} \| \d\.\d{3} \|", table
    )
    assert table.rstrip() in capsys.readouterr().out
    first = load("run/model.safetensors").params["decoder2"]
    made = training_history("run/model.safetensors")["decoder2"]
    train.main([*words, "--levels", "1", "--optimizer", "least-squares"])
    train.main([*words, "--levels", "3", "--bridge-steps", "2"])
    train.main([*words, "--levels", "2"])  # finished, so its checkpoint is all that is needed
    jax.tree.map(np.testing.assert_array_equal, load("run/model.safetensors").params["decoder2"], first)
    assert training_history("run/model.safetensors")["decoder2"] == made
    assert load("run/model.safetensors").levels == (1, 2, 3)
    assert len(Path("run/table.md").read_text().splitlines()) == 5
    assert Image.open("run/curves.png").size[0] > 1000  # of levels 2 and 3; level 1 was solved
    assert Image.open("run/reconstructions.png").size[0] > 4 * 32
    words = ["--style", "a.png", "--levels", "2", "1", "--model", "run/model.safetensors", "--output", "o.png"]
    stylize.main(["--content", "photo.jpg", *words])
    assert Image.open("o.png").size == (33, 21)


def test_a_decoder_trained_on_remembers_where_it_came_from(folder, photographs):
    words = ["--data", f"folder:{photographs}", *SMALL, "--levels", "1", "--steps"]
    train.main([*words, "2", "--output", "run"])
    seen = ["--perceptual-weight", "2", "--critic", "tiny.safetensors", "--lpips-weight", "3"]
    train.main([*words, "3", *seen, "--init", "run/model.safetensors", "--output", "again"])
    line = recorder.last_line(Path("again/level1"), "train")
    assert line["loss"] > 2 * line["perceptual_loss"] + 3 * line["lpips_loss"] > 0
    record = training_history("again/model.safetensors")["decoder1"]
    assert "--steps 3" in record["command"]
    assert record["data"].startswith("8 pictures, ")
    assert "--steps 2" in record["before"]["command"]
    assert "before" not in record["before"]


def test_training_on_a_data_set_of_tensorflow_datasets(folder):
    words = ["--data", "tiny_photographs", "--split", "train[:4]", "--test-split", "train[4:]", "--data-dir", "sets"]
    train.main([*words, *SMALL, "--epochs", "3", "--levels", "1", "--output", "run"])
    assert "| level 1 (relu1_1) |" in Path("run/table.md").read_text()
    assert training_history("run/model.safetensors")["decoder1"]["data"] == (
        "tiny_photographs/1.0.0 train[:4], 4 pictures"
    )
    assert sorted(int(p.name) for p in Path("run/level1").iterdir() if p.name.isdigit()) == [6]  # 3 x 4 / 2 steps
    assert test_photographs.TinyPhotographs.VERSION == "1.0.0"


def test_distilling_writes_a_model_with_its_own_encoder_whose_decoders_train_on(
    folder, photographs, monkeypatch, capsys
):
    narrow = ((4, 4), (4, 4), (6, 6, 6), (6, 6, 6), (6,))
    from uwct.networks.config import ModelConfig

    monkeypatch.setattr("uwct.cli.tasks.distill.small", lambda: ModelConfig("small", narrow))
    data = ["--data", f"folder:{photographs}", "--test", f"folder:{photographs}", "--steps", "2", "--batch", "2"]
    data += ["--crop", "16", "--test-crop", "64"]
    train.main([*data, "--task", "distill", "--init", "tiny.safetensors", "--judge-steps", "2", "--output", "small"])
    model = load("small/model.safetensors")
    assert model.levels == (1, 2, 3, 4, 5)
    assert model.params["encoder"]["conv1_1"]["kernel"].shape == (3, 3, 3, 4)
    assert "--task distill" in training_history("small/model.safetensors")["encoder"]["command"]
    with pytest.raises(SystemExit):  # the second stage began where the first one ended
        train.main([*data, "--steps", "3", "--task", "distill", "--init", "tiny.safetensors", "--output", "small"])
    assert capsys.readouterr().err.endswith(" --init tiny.safetensors --output small --output small-2\n")
    own = ["--backbone", "small/model.safetensors", "--init", "small/model.safetensors", "--levels", "2"]
    train.main([*data, *own, "--output", "more"])
    more = load("more/model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, more.params["encoder"], model.params["encoder"])
    assert "--task distill" in training_history("more/model.safetensors")["decoder2"]["before"]["command"]
    assert "--task distill" in training_history("more/model.safetensors")["encoder"]["command"]


def test_autoencoders_train_every_level_with_an_encoder_of_its_own(folder, photographs):
    words = ["--data", f"folder:{photographs}", "--test", f"folder:{photographs}", "--steps", "2", "--batch", "2"]
    words += ["--task", "autoencoders", "--init", "tiny.safetensors", "--critic", "tiny.safetensors", "--crop", "16"]
    words += ["--test-crop", "64", "--recipe", "sharp", "--output", "own"]
    train.main([*words, "--levels", "3"])
    before, model = load("tiny.safetensors"), load("own/model.safetensors")
    assert model.levels == (1, 2, 3, 4, 5)
    assert model.config.encoders[2] == (*before.config.blocks[:2], before.config.blocks[2][:1])
    for level in (1, 2, 4, 5):  # as they were, as precisely as float16 holds them
        for name, layer in model.params[f"encoder{level}"].items():
            np.testing.assert_allclose(layer["kernel"], before.params["encoder"][name]["kernel"], rtol=1e-3, atol=1e-6)
    made = training_history("own/model.safetensors")["decoder3"]
    assert {"lpips", "psnr"} <= set(made["test"])
    train.main([*words, "--levels", "3"])  # finished, so its checkpoint is all that is needed
    jax.tree.map(np.testing.assert_array_equal, load("own/model.safetensors").params, model.params)
    assert training_history("own/model.safetensors")["decoder3"] == made
    train.main([*words, "--levels", "2", "--deepen"])
    again = load("own/model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, again.params["encoder3"], model.params["encoder3"])
    moved = [m.params["encoder2"]["conv1_1"]["kernel"] for m in (again, model)]
    assert np.abs(moved[0] - moved[1]).max() > 0


def test_evaluating_prints_the_table_of_any_model(folder, photographs, capsys):
    train.main(["--evaluate", "tiny.safetensors", "--test", f"folder:{photographs}", "--test-crop", "64"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [f"level {i} (relu{i}_1)" for i in range(1, 6)]
    assert all(line.split("|")[2].strip() == "-" for line in lines[2:])
    assert not Path("runs").exists()


def test_recipes_give_the_defaults_of_what_is_not_said(capsys):
    assert train.parse(["--data", "folder:x"], "train.py").config.learning_rate == RECIPES["paper"].learning_rate
    fast = train.parse(["--data", "folder:x", "--recipe", "fast", "--batch", "7"], "train.py").config
    assert (fast.optimizer, fast.schedule, fast.batch) == ("muon", "cosine", 7)
    with pytest.raises(SystemExit):
        train.parse(["--help", "--recipe", "fast"], "train.py")
    assert "muon" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "."], "data must be folder:PATH or the name of a data set of tensorflow-datasets, not '.'"),
        ([], "data must be folder:PATH or the name of a data set"),
        (["--data", "folder:"], "data must be folder:PATH or the name of a data set of tensorflow-datasets, not 'fold"),
        (["--data", "tfds:"], "data must be folder:PATH or the name of a data set of tensorflow-datasets, not 'tfds:'"),
        (["--data", "folder:none"], "there is no folder none"),
        (["--data", "folder:.", "--levels", "2", "--optimizer", "least-squares"], "least-squares solves level 1 only"),
        (["--data", "folder:.", "--levels", "1", "2", "--bridge-steps", "9"], "level 1 has no shallower level"),
        (["--data", "folder:.", "--test-crop", "225"], "test_crop must be a multiple of 16 from 64 on, not 225"),
        (["--data", "folder:.", "--save-every", "0"], "save_every and judge_steps must be at least 1"),
        (["--data", "folder:.", "--seed", "-1"], "seed must lie between 0 and 2^32, not -1"),
        (["--data", "folder:.", "--levels", "7"], "level must be one of 1, 2, 3, 4, 5, not 7"),
        (["--data", "folder:.", "--backbone", "resnet"], "there is no model called resnet"),
        (["--data", "folder:.", "--backbone", "vgg19"], "there is no model called vgg19 (looked for "),
        (["--data", "folder:.", "--init", "tiny.safetensors", "--levels", "1"], "is another network"),
        (["--data", "folder:.", "--task", "distill"], "distill needs the model to learn from"),
        (["--data", "folder:.", "--task", "autoencoders"], "autoencoders need a model to start from"),
        (
            ["--data", "folder:.", "--task", "autoencoders", "--init", "small", "--deepen"],
            "--deepen is for autoencoders",
        ),
        (["--data", "folder:.", "--processes", "2"], "2 processes need a coordinator"),
        (["--data", "folder:.", "--process", "0"], "coordinator and process belong to more than one process"),
        (["--data", "folder:.", "--cluster", "--processes", "2"], "cluster takes the processes from the environment"),
        (["--data", "folder:.", "--batch", "3"], "batch 3 cannot be split over 2 devices"),
        (["--evaluate", "tiny.safetensors"], "--evaluate needs photographs: give --test"),
    ],
)
def test_bad_training_input_gives_one_sentence_and_code_2(folder, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        train.main([*words, "--test-count", "1"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def test_measuring_writes_what_backbones_are_normalised_by(folder, photographs, monkeypatch):
    from uwct.cli import measure
    from uwct.networks.model import backbone

    measure.main(
        ["--data", f"folder:{photographs}", "--output", "vgg16_means.safetensors", "--count", "2", "--crop", "32"]
    )
    monkeypatch.setattr("uwct.networks.model.WEIGHTS", folder)
    assert all(variance > 0 for variance in backbone("vgg16").config.variances)
