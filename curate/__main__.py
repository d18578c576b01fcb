"""`python -m curate` is `curate`."""

from curate.cli.pipeline import main

main()
