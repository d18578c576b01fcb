"""Python's way to the images of a split: what `import train` offers (docs/python.md).

The package's own `__init__.py` belongs to this room; no other room imports either. The tables of
a workspace are in `curate/interface`; what `train run` trains on is selected in `data`.
"""
