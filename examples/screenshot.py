"""Makes the documents' pictures of the two pages, web.jpg and on_the_web.jpg in examples/gallery.

It uses them in headless Chromium, as anybody would.

Run from the root of the repository: python examples/screenshot.py [web] [on_the_web]
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PORT = "7861"
GALLERY = Path("examples/gallery")
EXPORT = "-m uwct export --format web --content examples/photos --style examples/styles --output"


def main() -> None:
    """Serves each page, paints there, and takes the picture."""
    asked = sys.argv[1:] or ["web", "on_the_web"]
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        page = browser.new_page()
        if "web" in asked:
            with serving(f"-m uwct web --styles examples/styles --model small --port {PORT}"):
                paint_by_gradio(page)
        if "on_the_web" in asked:
            subprocess.run([sys.executable, *EXPORT.split(), f"{folder}/page"], check=True)
            with serving(f"-u -m http.server {PORT} --bind 127.0.0.1 --directory {folder}/page"):
                paint_in_browser(page)
        browser.close()


@contextmanager
def serving(words: str) -> Iterator[None]:
    """While a server runs that Python starts with these words."""
    with subprocess.Popen([sys.executable, *words.split()], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            server.stdout.readline()  # it listens
            yield
        finally:
            server.terminate()


def paint_by_gradio(page: Page) -> None:
    """The cat, in two styles."""
    page.set_viewport_size({"width": 1280, "height": 1160})
    page.goto(f"http://127.0.0.1:{PORT}")
    page.locator("input[type=file]").first.set_input_files("examples/photos/cat.jpg")
    for style in ("strokes", "waves"):
        page.locator("#styles button", has_text=style).click()
        page.get_by_text(f"✓ {style}").wait_for()
    page.get_by_role("button", name="Paint", exact=True).click()
    page.locator("#result img").wait_for()
    page.mouse.move(640, 5)  # away from what it would highlight
    page.wait_for_timeout(1000)
    page.screenshot(path=GALLERY / "web.jpg", type="jpeg", quality=70)


def paint_in_browser(page: Page) -> None:
    """The cat in strokes, of which the left half is shown."""
    page.set_viewport_size({"width": 1280, "height": 860})
    page.goto(f"http://127.0.0.1:{PORT}")
    for name in ("cat", "strokes"):
        page.get_by_role("radio", name=name, exact=True).check()
    page.get_by_text("Press Paint.").wait_for()
    page.get_by_role("button", name="Paint", exact=True).click()
    page.get_by_text("Painted in").wait_for(timeout=120_000)
    page.get_by_label("How much of the painted photo is shown").fill("62")
    page.mouse.move(640, 5)
    page.wait_for_timeout(500)
    page.screenshot(path=GALLERY / "on_the_web.jpg", type="jpeg", quality=70)


if __name__ == "__main__":
    main()
