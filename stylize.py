"""Paint a photo in the manner of any picture; `python stylize.py --help` explains.

python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --output cat.jpg
"""

from uwct.cli.starting import ending_at_once

if __name__ == "__main__":
    with ending_at_once():
        from uwct.cli.stylize import main

        main()
