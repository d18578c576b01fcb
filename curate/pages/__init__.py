"""What the pages and cards of both programs share: the frame, the escaping, SVG, the intended use.

Here belongs what `curate report`, `curate card`, `train report` and `train card` all need, with its
templates. What one page or card holds is in its own room: `reports`, `train/report`.
"""
