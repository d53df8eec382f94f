"""The page of `uwct web` as a Space of Hugging Face: open to anybody, so within the limits of --public."""

import sys
from pathlib import Path

from uwct.cli.web import main

if __name__ == "__main__":
    styles = Path(__file__).with_name("styles")
    main(["--public", "--host", "0.0.0.0", "--styles", str(styles), *sys.argv[1:]], prog="app.py")
