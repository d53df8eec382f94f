"""Train decoders on photographs; `python train.py --help` explains.

python train.py --data folder:examples/photos --levels 1 2 3 4 5 --output runs/mine
"""

from uwct.cli.train import main

if __name__ == "__main__":
    main()
