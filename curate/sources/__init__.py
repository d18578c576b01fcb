"""Dataset layouts, one module each, and the options and votes that decide how a dataset is read.

A new layout is a new module here, named in `layout.LAYOUTS`. Readers that several layouts share
live in `tables/`.
"""
