"""A trained model on pictures and videos of the user: detecting, tracking, predicting, timelines.

Rows of a workspace are scored by `evaluation`.
"""
