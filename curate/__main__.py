"""`python -m curate` is `curate`, and imports nothing else of the current folder."""

import os
import sys

# Python puts the current folder first, where a cv2.py would be taken for OpenCV.
# By os.path, as `python` itself does.
_PACKAGES = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != _PACKAGES:
    del sys.path[0]

from curate.cli.pipeline import main  # noqa: E402 - after the path is mended

main()
