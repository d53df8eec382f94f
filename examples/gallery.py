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
    """Runs every command of README that writes a .jpg here, with its output in the gallery."""
    GALLERY.mkdir(exist_ok=True)
    for command, name in re.findall(
        r"^(python stylize.py .*|uwct grid .*) --output (\w+\.jpg)$", Path("README.md").read_text(), re.M
    ):
        program, *words = shlex.split(command)
        entry = ["-m", "uwct"] if program == "uwct" else []
        subprocess.run([sys.executable, *entry, *words, "--output", str(GALLERY / name)], check=True)


if __name__ == "__main__":
    main()
