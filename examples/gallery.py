"""Makes the pictures of the documents' gallery, in examples/gallery, by running their own commands.

Run from the root of the repository: python examples/gallery.py
"""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

GALLERY = Path("examples/gallery")


def main() -> None:
    """Runs every command of README and the pages that writes a .jpg here, with its output in the gallery."""
    GALLERY.mkdir(exist_ok=True)
    pages = "".join(page.read_text() for page in (Path("README.md"), *sorted(Path("docs").glob("*.md"))))
    written = re.findall(r"^(python stylize.py .*|uwct (?:grid|texture) .*) --output (\w+\.jpg)$", pages, re.M)
    for command, name in dict.fromkeys(written):
        program, *words = shlex.split(command)
        entry = ["-m", "uwct"] if program == "uwct" else []
        subprocess.run([sys.executable, *entry, *words, "--output", str(GALLERY / name)], check=True)
    crop()
    video()


def crop() -> None:
    """Makes evening_crop.jpg: a part of the photo and of evening.jpg beside each other, pixel for pixel."""
    box = (170, 90, 470, 310)
    paths = (Path("examples/photos/coffee.jpg"), GALLERY / "evening.jpg")
    both = [Image.open(path).convert("RGB").crop(box) for path in paths]
    sheet = Image.new("RGB", (2 * both[0].width, both[0].height))
    for column, picture in enumerate(both):
        sheet.paste(picture, (column * picture.width, 0))
    sheet.save(GALLERY / "evening_crop.jpg", quality=92)


def video() -> None:
    """Makes video.jpg: three frames of a clip that moves over a photo, and below them the same stylized."""
    side, step, count = 200, 6, 17
    photo = Image.open("examples/photos/coffee.jpg").resize((side + step * (count - 1), side), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (3 * side, 2 * side))
    with tempfile.TemporaryDirectory() as name:
        frames, painted = Path(name, "frames"), Path(name, "painted")
        frames.mkdir()
        for i in range(count):
            photo.crop((step * i, 0, step * i + side, side)).save(frames / f"{i}.png")
        style = ["--style", "examples/styles/strokes.jpg"]
        subprocess.run([sys.executable, "-m", "uwct", "video", str(frames), str(painted), *style], check=True)
        for row, folder in enumerate((frames, painted)):
            for column in range(3):
                frame = Image.open(folder / f"{column * (count - 1) // 2}.png")
                sheet.paste(frame, (column * side, row * side))
    sheet.save(GALLERY / "video.jpg", quality=84)


if __name__ == "__main__":
    main()
