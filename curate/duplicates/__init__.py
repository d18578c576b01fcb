"""Which images are copies: candidates by hash and by neighbourhood, then verified in pixels.

Groups and redundant copies are columns of the manifest and so belong to `stages/dedup.py`.
"""
