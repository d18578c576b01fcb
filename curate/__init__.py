"""Candid's curation of face-expression datasets; `curate --help` is the way in."""
