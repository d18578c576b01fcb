"""Dataset layouts, one module each; the options of reading one; the join of FER+'s votes.

A new layout is a new module here, named in `layout.LAYOUTS`. Readers that several layouts share
live in `tables/`.
"""
