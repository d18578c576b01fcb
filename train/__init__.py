"""Candid's trainer of face-expression models; `train --help` is the way in."""
