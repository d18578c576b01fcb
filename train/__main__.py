"""`python -m train` is `train`."""

from train.cli.training import main

main()
