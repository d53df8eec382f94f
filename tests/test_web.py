"""`uwct web`, used as people do: the documented command serves the page, and headless Chromium opens it."""

import io
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import requests
from conftest import UWCT, picture
from PIL import Image
from playwright.sync_api import sync_playwright

from uwct.cli import web
from uwct.networks.model import save

ROOT = Path(__file__).parents[1]
(COMMAND,) = re.findall(r"^uwct (web .*)$", (ROOT / "docs" / "browser.md").read_text(), re.M)
QUIET = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync"""


@pytest.fixture(scope="module")
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_model):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(tiny_model, path)
    return str(path)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """For the commands: one cache of compiled programs for all."""
    return {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def served(tmp_path_factory, environment, model, free_port):
    """The address of the page; checks that Ctrl-C ends it quietly, and that it leaves nothing behind."""
    temporary = tmp_path_factory.mktemp("temporary")
    words = [*shlex.split(COMMAND), "--model", model, "--port", str(free_port)]
    process = subprocess.Popen(
        [sys.executable, "-c", UWCT, *words],
        cwd=ROOT,
        env={**environment, "TMPDIR": str(temporary), "http_proxy": "http://127.0.0.1:9"},  # a proxy that is not there
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    assert re.match(rf"open http://127.0.0.1:{free_port}/ in a browser", line), process.communicate()[1]
    yield line.split()[1]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    assert not list(temporary.iterdir())


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET.split())
        yield browser
        browser.close()


@pytest.fixture
def page(browser, served):
    """The page, opened anew; checks that it asked nothing of another computer, and had no error."""
    asked, errors = [], []
    page = browser.new_page(viewport={"width": 1280, "height": 1500})
    page.set_default_timeout(120_000)  # milliseconds: compiling takes its time on a busy computer
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(served)
    page.get_by_role("button", name="Paint", exact=True).wait_for()
    yield page
    page.close()
    assert all(url.startswith((served, "blob:", "data:")) for url in asked)
    assert len(asked) > 10
    assert not errors


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.uint8(255 * picture(120, 160, 1))).save(path)
    return path


def upload(page, path, field=0):
    page.locator("input[type=file]").nth(field).set_input_files(path)


def choose(page, style):
    page.locator("#styles button", has_text=style).click()
    page.get_by_text(f"✓ {style}").wait_for()


def paint(page):
    """Presses Paint and downloads the result: float [H, W, 3] in [0, 255]."""
    image = page.locator("#result img")
    before = image.get_attribute("src") if image.count() else None
    page.get_by_role("button", name="Paint", exact=True).click()
    page.wait_for_function("before => ![null, before].includes(document.querySelector('#result img')?.src)", arg=before)
    with page.expect_download() as download:
        page.get_by_text("Download (PNG)").click()
    assert download.value.suggested_filename.endswith(".png")
    return np.asarray(Image.open(download.value.path()), float)


def test_what_the_page_paints_is_what_the_command_does_until_a_slider_moves(page, photo, model, environment, tmp_path):
    upload(page, photo)
    choose(page, "strokes")
    first = paint(page)
    output = tmp_path / "out.png"
    words = ["--content", photo, "--style", "examples/styles/strokes.jpg", "--model", model, "--output", output]
    subprocess.run([sys.executable, "stylize.py", *words], cwd=ROOT, env=environment, check=True)
    assert np.abs(first - np.asarray(Image.open(output), float)).max() <= 1
    slider = page.get_by_label("range slider for Strokes")
    slider.click(position={"x": 0.3 * slider.bounding_box()["width"], "y": 2})
    assert 0.2 < float(slider.input_value()) < 0.4
    second = paint(page)
    assert second.shape == first.shape
    assert np.abs(second - first).mean() > 1
    page.get_by_text("Gentle: details stay").click()
    page.wait_for_function("document.querySelector('[aria-label=\"range slider for Strokes\"]').value == 0")


def test_styles_are_added_and_mixed_in_shares(page, photo, tmp_path):
    upload(page, photo)
    Image.fromarray(np.uint8(255 * picture(60, 60, 2))).save(tmp_path / "mine.png")
    upload(page, tmp_path / "mine.png", 1)
    page.get_by_text("✓ mine").wait_for()
    mine = paint(page)
    choose(page, "waves")
    both = paint(page)
    share = page.get_by_label("number input for Share of waves")
    share.fill("0")
    share.press("Tab")
    assert np.abs(both - mine).mean() > 1
    assert np.abs(paint(page) - mine).max() <= 1


def test_what_is_painted_over_is_a_mask(page, photo):
    upload(page, photo)
    choose(page, "strokes")
    page.get_by_text("Only a part of the photo").click()
    canvas = page.locator("canvas").first

    def middle():
        pixels = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB"), int)
        return pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]

    while middle().min() > 240:  # until the photo lies there
        page.wait_for_timeout(200)
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    while np.abs(middle() - (225, 29, 72)).max() > 9:  # until the brush's color does
        page.mouse.move(x - 30, y)
        page.mouse.down()
        page.mouse.move(x + 30, y, steps=10)
        page.mouse.up()
    original = np.asarray(Image.open(photo), float)
    kept = np.abs(paint(page) - original)
    assert kept[58:62, 78:82].max() <= 1
    assert kept[:10].mean() > 3
    page.get_by_text("gets the style").click()
    styled = np.abs(paint(page) - original)
    assert styled[:10].max() <= 1
    assert styled[58:62, 78:82].mean() > 3


def test_refining_shows_the_picture_on_its_way_and_can_be_cancelled(page, photo):
    upload(page, photo)
    choose(page, "strokes")
    plain = paint(page)
    page.get_by_label("Refine (slower, finer)").check()
    shown = []
    page.get_by_role("button", name="Paint", exact=True).click()
    for _ in range(2):  # as painted, and after the first ten steps
        shown.append(page.locator("#result img").get_attribute("src"))
        page.wait_for_function("before => before != document.querySelector('#result img')?.src", arg=shown[-1])
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.wait_for_timeout(5000)  # in which all others would be done, or at least ten
    last = page.locator("#result img").get_attribute("src")
    page.wait_for_timeout(5000)
    assert page.locator("#result img").get_attribute("src") == last
    with page.expect_download() as download:
        page.get_by_text("Download (PNG)").click()
    refined = np.asarray(Image.open(download.value.path()), float)
    assert np.abs(refined - plain).mean() > 1
    page.get_by_label("Refine (slower, finer)").uncheck()
    assert np.abs(paint(page) - plain).max() <= 1


def test_bad_input_is_one_sentence(page, photo, tmp_path):
    page.get_by_role("button", name="Paint", exact=True).click()
    page.get_by_text("Choose a photo first.").wait_for()
    (tmp_path / "bad.jpg").write_text("no picture")
    upload(page, tmp_path / "bad.jpg")
    page.get_by_text("bad.jpg is not a picture in a format that can be read").wait_for()
    upload(page, photo)
    page.get_by_role("button", name="Paint", exact=True).click()
    page.get_by_text("Choose a style first").wait_for()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port", "0"], "--port must lie between 1 and 65535, not 0"),
        (["--port", "65536"], "--port must lie between 1 and 65535, not 65536"),
        (["--size", "-1"], "--size must lie between 0 and 2^31, not -1"),
        (["--styles", "none"], "there is no folder none"),
        (["--model", "none"], "none"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0 lets others use the page; say who may with --auth, or --public"),
        (["--share"], "--share lets others use the page; say who may with --auth, or --public"),
        (["--public", "--size", "0"], "--public needs a limit of --size, not 0"),
        (["--auth", "ann"], "--auth must be USER:PASSWORD, or a file with one such pair a line"),
        (["--root-path", "uwct"], "--root-path must begin with /, not uwct"),
    ],
)
def test_bad_options_are_one_sentence(capsys, words, sentence):
    with pytest.raises(SystemExit) as stop:
        web.main(words)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err


def test_who_is_named_by_auth_and_nobody_else_comes_in(tmp_path, environment, model):
    (tmp_path / "users").write_text("ann:secret\n\nbob:of:colons\n")
    assert web.users(str(tmp_path / "users")) == [("ann", "secret"), ("bob", "of:colons")]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = ["web", "--auth", "ann:secret", "--model", model, "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-c", UWCT, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b"open http")
        asked = {name: requests.Session() for name in ("ann", "eve")}
        for name, session in asked.items():
            session.post(f"http://127.0.0.1:{port}/login", {"username": name, "password": "secret"})
        codes = {name: session.get(f"http://127.0.0.1:{port}/config").status_code for name, session in asked.items()}
        process.send_signal(signal.SIGINT)
    assert codes == {"ann": 200, "eve": 401}


def test_a_port_that_is_taken_is_one_sentence(capsys, served, free_port):
    with pytest.raises(SystemExit) as stop:
        web.main(["--port", str(free_port)])
    assert stop.value.code == 2
    assert f"cannot listen at 127.0.0.1, port {free_port}: Address already in use" in capsys.readouterr().err


def test_who_leaves_in_the_middle_of_an_upload_is_no_error(served, free_port):
    """`served` sees whether anything was said of it."""
    with socket.create_connection(("127.0.0.1", free_port)) as half:
        head = "POST /gradio_api/upload HTTP/1.1", "Host: here", "Content-Length: 1000"
        head += ("Content-Type: multipart/form-data; boundary=b", "", "--b\r\n")
        half.sendall("\r\n".join(head).encode())
        half.settimeout(2)
        with suppress(TimeoutError):  # it waits for the rest
            assert not half.recv(1)


def test_without_gradio_it_says_how_to_install_it(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        web.main([])
    assert stop.value.code == 2
    assert 'python -m pip install ".[web]"' in capsys.readouterr().err
