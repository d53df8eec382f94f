"""`python -m uwct` works as `uwct` does."""

from uwct.cli.main import main

main()
