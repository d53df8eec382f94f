"""The page of `uwct export --format web`, used as people do, in headless Chromium, from an ordinary server of files."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import RUNTIME, picture
from PIL import Image
from playwright.sync_api import sync_playwright

import uwct
from uwct.cli.export import main
from uwct.export import page as pages
from uwct.networks.model import save
from uwct.pipeline.presets import PRESETS
from uwct.transforms.matching import TRANSFORMS

PAINT = PRESETS["paint"]
SIZES = {"photo": (70, 90), "style": (64, 512)}  # which the page leaves as they are


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model):
    """A model, pictures, and the page of them."""
    folder = tmp_path_factory.mktemp("web")
    save(tiny_model, folder / "tiny.safetensors")
    for seed, (name, shape) in enumerate(SIZES.items()):
        (folder / name).mkdir()
        Image.fromarray(np.uint8(255 * picture(*shape, seed))).save(folder / f"{name}.png")
        Image.fromarray(np.uint8(255 * picture(40, 50, 3 + seed))).save(folder / name / "an example.png")
    words = ["--content", folder / "photo", "--style", folder / "style", "--model", folder / "tiny.safetensors"]
    main([*map(str, words), "--format", "web", "--runtime", RUNTIME, "--output", str(folder / "page")])
    return folder


@pytest.fixture(scope="module")
def address(folder):
    """Of the page, as Python's own server gives it out."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder / "page"))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(params=[1280, 360], ids=["desk", "phone"])
def page(browser, address, request):
    """The page, loaded anew; checks that it asked nothing of another server, sent nothing, and had no error."""
    asked, errors = [], []
    page = browser.new_page(viewport={"width": request.param, "height": 800})
    page.set_default_timeout(120_000)  # milliseconds
    page.on("request", lambda request: asked.append(request))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(address)
    page.get_by_text("Press Paint.").wait_for()
    yield page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
    assert len(asked) > 10
    assert all(each.url.startswith((address, f"blob:{address}")) and each.method == "GET" for each in asked)
    assert not errors


def painted(page):
    """Presses Paint and downloads the result: float [H, W, 3] in [0, 255]."""
    page.get_by_role("button", name="Paint", exact=True).click()
    page.get_by_text("Painted in").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "painted.png"
    return np.asarray(Image.open(download.value.path()).convert("RGB"), float)


def by_uwct(model, folder, alphas):
    photo, style = (jnp.float32(np.asarray(Image.open(folder / f"{name}.png"))) / 255 for name in SIZES)
    how = {"transform": TRANSFORMS[PAINT.transform], "shrinkage": PAINT.shrinkage}
    return 255 * np.clip(uwct.stylize(model, photo, style, PAINT.levels, alphas, **how), 0, 1)


def test_ones_own_pictures_are_painted_as_python_paints_them(page, folder, tiny_model):
    page.get_by_label("Choose a photo").set_input_files(folder / "photo.png")
    page.get_by_label("Choose a style picture").set_input_files(folder / "style.png")
    page.wait_for_function("document.getElementById('before').width == 90")
    first = painted(page)
    np.testing.assert_allclose(first, by_uwct(tiny_model, folder, PAINT.alpha), atol=0.51 + 0.255)
    slider = page.get_by_label("Strokes")
    slider.focus()
    for _ in range(6):  # by the keyboard, a twentieth each
        slider.press("ArrowLeft")
    assert slider.input_value() == "0.7"
    second = painted(page)
    np.testing.assert_allclose(second, by_uwct(tiny_model, folder, (0.7, *PAINT.alpha[1:])), atol=0.51 + 0.255)
    assert np.abs(second - first).max() > 2


def test_examples_can_be_chosen_and_what_is_no_picture_is_said(page, tmp_path):
    assert page.get_by_alt_text("an example").count() == 2
    assert painted(page).shape == (40, 50, 3)
    (tmp_path / "bad.jpg").write_text("no picture")
    page.get_by_label("Choose a photo").set_input_files(tmp_path / "bad.jpg")
    page.get_by_text("bad.jpg is not a picture").wait_for()


def refused(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words), "--format", "web"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    return error


def test_bad_input_is_one_sentence_and_leaves_nothing(folder, tmp_path, capsys, monkeypatch):
    model = ["--model", folder / "tiny.safetensors"]
    assert "exists" in refused(capsys, *model, "--output", folder / "page")
    (tmp_path / "dist").mkdir()
    before = [*tmp_path.iterdir()]
    assert "lacks ort.wasm.min.mjs" in refused(
        capsys, *model, "--runtime", tmp_path / "dist", "--output", tmp_path / "p"
    )
    assert "no pictures" in refused(capsys, *model, "--style", tmp_path / "dist", "--output", tmp_path / "p")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "npm is needed" in refused(capsys, *model, "--output", tmp_path / "p")
    assert [*tmp_path.iterdir()] == before


def test_the_runtime_is_what_npm_packs(tmp_path, monkeypatch):
    """By an npm that packs what is here."""
    archive = shutil.make_archive(str(tmp_path / "packed"), "gztar", Path(RUNTIME).parents[1], "package/package.json")
    (tmp_path / "npm").write_text(f'#!/bin/sh\n[ "$2" = "{pages.PACKAGE}" ] && cp "{archive}" "$5/a.tgz"\n')
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pages.fetched_runtime() as runtime:
        assert (runtime.parent / "package.json").is_file()
    assert not runtime.parent.exists()
    (tmp_path / "npm").write_text("#!/bin/sh\necho no network >&2; exit 1\n")
    with pytest.raises(OSError, match=r"npm cannot fetch onnxruntime-web.*no network"), pages.fetched_runtime():
        pass
