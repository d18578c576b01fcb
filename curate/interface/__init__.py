"""Python's way to a workspace: what `import curate` offers (docs/python.md).

The package's own `__init__.py` belongs to this room; no other room imports either. Loading images
for a training is in `train/interface`; files for other programs are written by `export`.
"""
