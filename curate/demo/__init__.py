"""Drawn faces whose every fact is known, datasets of them with planted defects, and `curate demo`.

Nothing here is used on a real dataset.
"""
