"""`uwct COMMAND`, and `python -m uwct COMMAND`: one entry to all commands."""

import sys

from uwct.cli.starting import ending_at_once

USAGE = """usage: uwct COMMAND [OPTIONS]

Style transfer from any picture to any photo, without training per style.

  uwct stylize   paint a photo in the manner of any picture
  uwct texture   make a texture of any picture, without a photo
  uwct web       serve a page to paint photos on, in the browser
  uwct style     keep styles as small files, and mix them
  uwct grid      lay results of many settings out in one picture
  uwct augment   make a data set of pictures in random styles
  uwct video     paint a video in the manner of any picture
  uwct evaluate  measure how near stylized pictures are to their styles and contents
  uwct export    make a program that paints without uwct: ONNX, StableHLO, a page on the web
  uwct train     train the networks' decoders, or a narrower network, on photographs
  uwct convert   make a model file of weights that other programs wrote
  uwct fetch     download published networks, such as the paper's own
  uwct inspect   say what a model or a file of weights holds
  uwct measure   measure an encoder's mean activations over photographs, to normalise it

uwct COMMAND --help explains a command and gives examples."""


def main() -> None:
    """Runs the command that the first argument names."""
    with ending_at_once():
        run_named()


def run_named() -> None:
    """The command, which is imported first: of all others nothing is."""
    command, *rest = sys.argv[1:] or ["--help"]
    if command == "stylize":
        from uwct.cli.stylize import main as run
    elif command == "style":
        from uwct.cli.style import main as run
    elif command == "texture":
        from uwct.cli.texture import main as run
    elif command == "grid":
        from uwct.cli.grid import main as run
    elif command == "web":
        from uwct.cli.web import main as run
    elif command == "augment":
        from uwct.cli.augment import main as run
    elif command == "video":
        from uwct.cli.video import main as run
    elif command == "evaluate":
        from uwct.cli.evaluate import main as run
    elif command == "export":
        from uwct.cli.export import main as run
    elif command == "train":
        from uwct.cli.train import main as run
    elif command == "convert":
        from uwct.cli.convert import main as run
    elif command == "fetch":
        from uwct.cli.fetch import main as run
    elif command == "inspect":
        from uwct.cli.inspect import main as run
    elif command == "measure":
        from uwct.cli.measure import main as run
    elif command in ("-h", "--help"):
        print(USAGE)
        return
    else:
        print(f"error: there is no command {command!r}\n\n{USAGE}", file=sys.stderr)
        sys.exit(2)
    try:
        run(rest, prog=f"uwct {command}")
    except BrokenPipeError:  # of help
        from uwct.cli.errors import end_unread

        end_unread()
