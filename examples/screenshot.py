"""Makes README's picture of the page, examples/gallery/web.jpg, by using it in headless Chromium as anybody would.

Run from the root of the repository: python examples/screenshot.py
"""

import subprocess
import sys

from playwright.sync_api import sync_playwright

PORT = "7861"
COMMAND = [sys.executable, "-m", "uwct", "web", "--styles", "examples/styles", "--model", "small", "--port", PORT]


def main() -> None:
    """Serves the page, paints the cat there, and takes the picture."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout
        server.stdout.readline()  # it listens
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        page = browser.new_page(viewport={"width": 1280, "height": 1160})
        page.goto(f"http://127.0.0.1:{PORT}")
        page.locator("input[type=file]").first.set_input_files("examples/photos/cat.jpg")
        for style in ("strokes", "waves"):
            page.locator("#styles button", has_text=style).click()
            page.get_by_text(f"✓ {style}").wait_for()
        page.get_by_role("button", name="Paint", exact=True).click()
        page.locator("#result img").wait_for()
        page.mouse.move(640, 5)  # away from what it would highlight
        page.wait_for_timeout(1000)
        page.screenshot(path="examples/gallery/web.jpg", type="jpeg", quality=70)
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main()
