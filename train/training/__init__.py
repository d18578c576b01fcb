"""`train run`, `tune` and `preview`: fit one network, on one device or several, with checkpoints.

Out-of-fold training of many models lives in `oof`.
"""
