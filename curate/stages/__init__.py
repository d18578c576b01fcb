"""One module a stage, each a function from the manifest to its own columns, and what two stages share.

A stage imports no other stage and prints nothing. `build` and `inspect` read images, `dedup` their thumbnails; the
others read tables only.
"""
