"""Train decoders on photographs; `python train.py --help` explains.

python train.py --data folder:examples/photos --levels 1 2 3 4 5 --output runs/mine
"""

from uwct.cli.starting import ending_at_once

if __name__ == "__main__":
    with ending_at_once():
        from uwct.cli.train import main

        main()
