"""Makes the pictures of README's gallery, in examples/gallery, by running README's own commands.

Run from the root of the repository: python examples/gallery.py
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

GALLERY = Path("examples/gallery")


def main() -> None:
    """Runs every stylize.py command of README that writes a .jpg, with its output in the gallery."""
    GALLERY.mkdir(exist_ok=True)
    for command, name in re.findall(
        r"^(python stylize.py .*) --output (\w+\.jpg)$", Path("README.md").read_text(), re.M
    ):
        words = [*shlex.split(command)[1:], "--output", str(GALLERY / name)]
        subprocess.run([sys.executable, *words], check=True)


if __name__ == "__main__":
    main()
