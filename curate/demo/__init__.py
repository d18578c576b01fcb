"""Drawn faces, datasets of them with planted defects of known truth, and `curate demo`.

Nothing here is used on a real dataset.
"""
