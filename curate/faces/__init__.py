"""Drawn faces whose every fact is known, and datasets of them with planted defects, to try the chain on.

`draw_face` draws one photograph; `curate.faces.planting` writes whole datasets.
"""

from curate.faces.drawing import draw_face
from curate.faces.people import EXPRESSIONS

__all__ = ["EXPRESSIONS", "draw_face"]
