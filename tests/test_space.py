"""A page for strangers: the Space's program serves it to anybody, within limits, and deletes what they leave behind."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests
import yaml
from conftest import picture
from PIL import Image

from uwct.cli import page, web
from uwct.cli.painter import Painter
from uwct.networks import model as networks
from uwct.networks.model import save

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def space(tmp_path_factory, tiny_model):
    """The address of the page of app.py, started as a Space starts it, in the folder that is uploaded."""
    folder = tmp_path_factory.mktemp("space") / "app"
    shutil.copytree(ROOT / "space", folder)
    shutil.copytree(ROOT / "examples" / "styles", folder / "styles")
    (folder / "tmp").mkdir()
    save(tiny_model, folder / "tiny.safetensors")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = ["app.py", "--port", str(port), "--model", "tiny.safetensors"]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("open http")
        yield f"http://127.0.0.1:{port}"
        process.terminate()
    assert not list((folder / "tmp").iterdir())


def test_anybody_gets_the_page_with_its_styles_and_what_becomes_of_pictures(space):
    text = requests.get(space).text
    assert "deleted after half an hour" in text
    thumbnails = set(re.findall(rf'"url":"({space}/[^"]+)"', text))
    assert len(thumbnails) == 5
    for url in thumbnails:
        assert requests.get(url).headers["Content-Type"].startswith("image/")


def test_files_beyond_the_limit_are_refused(space):
    codes = [
        requests.post(f"{space}/gradio_api/upload", files={"files": ("a.png", bytes(size))}).status_code
        for size in (1_000_000, 11_000_000)
    ]
    assert codes == [200, 413]


def test_what_strangers_leave_is_deleted_in_time_and_the_gallery_stays(tmp_path, tiny_model):
    for name, seed in (("a", 1), ("b", 2)):
        Image.fromarray(np.uint8(255 * picture(30, 30, seed))).save(tmp_path / f"{name}.png")
    cache = tmp_path / "cache"
    cache.mkdir()
    os.environ["GRADIO_TEMP_DIR"] = str(cache)
    try:
        page.build(Painter(tiny_model, 512), [tmp_path / "a.png", tmp_path / "b.png"], cache)
    finally:
        del os.environ["GRADIO_TEMP_DIR"]
    gallery = set(web.all_files(cache))
    assert len(gallery) == 2  # Gradio keeps them from the start, so that what comes later is the visitors'
    for name, age in (("old", 100), ("new", 10)):
        (cache / name).mkdir()
        (cache / name / "photo.png").touch()
        then = (cache / name / "photo.png").stat().st_mtime - age
        os.utime(cache / name / "photo.png", (then, then))
    for path in gallery:
        os.utime(path, (then - 1000, then - 1000))
    web.sweep(cache, 50, gallery)
    assert set(web.all_files(cache)) == {*gallery, cache / "new" / "photo.png"}
    web.sweep(cache, float("inf"), gallery)
    assert (cache / "new" / "photo.png").exists()


def test_refinement_ends_in_time_with_the_picture_as_it_is(tmp_path, tiny_model, tiny_vgg, monkeypatch):
    monkeypatch.setattr("uwct.cli.painter.backbone", lambda name: tiny_vgg)
    for name, seed in (("photo", 1), ("style", 2)):
        Image.fromarray(np.uint8(255 * picture(24, 24, seed))).save(tmp_path / f"{name}.png")
    said = []
    monkeypatch.setattr(page.gr, "Warning", said.append)
    blocks = page.build(Painter(tiny_model, 512), [], tmp_path, seconds=0)
    (paint,) = [f.fn for f in blocks.fns.values() if f.api_name == "paint"]
    numbers = [1.0] * page.MIXED + [0.5] * 5
    photo, style = str(tmp_path / "photo.png"), tmp_path / "style.png"
    results = list(paint(photo, [style], "no", page.KEEP, None, True, False, *numbers, progress=lambda *_, **__: None))
    assert len(results) == 1  # the picture as it is painted, before the first step
    assert Image.open(results[0][0]).size == (24, 24)
    assert said == ["Refined in 0 of 50 steps: here 0 seconds are all."]


def test_what_a_space_reads_fits_together():
    _, front, _ = (ROOT / "space" / "README.md").read_text().split("---\n", 2)
    settings = yaml.safe_load(front)
    assert (settings["sdk"], settings["app_file"]) == ("gradio", "app.py")
    assert len(settings["short_description"]) <= 60  # the limit there
    import gradio

    assert settings["sdk_version"].split(".")[0] == gradio.__version__.split(".")[0]
    project = (ROOT / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.*)"$', project, re.M)
    assert (ROOT / "space" / "requirements.txt").read_text() == f"uwct[web]=={version}\n"


def test_the_model_card_names_every_file_of_weights_with_its_size():
    card = (ROOT / "MODEL_CARD.md").read_text()
    assert yaml.safe_load(card.split("---\n", 2)[1])["library_name"] == "uwct"
    for path in networks.WEIGHTS.glob("*.safetensors"):
        if path.stem in networks.NAMES:
            assert re.search(rf"`{path.name}`.*{path.stat().st_size / 1e6:.1f} MB", card), path.name
