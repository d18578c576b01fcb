"""A trained model on the user's own pictures and videos: detect faces, track them, predict, smooth.

Predictions of a workspace's rows are in `evaluation`.
"""
