"""Paint a photo in the manner of any picture; `python stylize.py --help` explains.

python stylize.py --content examples/photos/cat.jpg --style examples/styles/strokes.jpg --output cat.jpg
"""

from uwct.cli.stylize import main

if __name__ == "__main__":
    main()
