"""`train run`, `tune` and `preview`: fitting one network, checkpoints, resuming, seeds, several devices.

Out-of-fold training of many models lives in `oof`.
"""
