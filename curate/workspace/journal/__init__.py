"""The journal of decisions: its file, the order of its lines, the decisions in them, the verdicts.

Who decides, and what about, is in `review` and `relabel`.
"""
