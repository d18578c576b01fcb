"""`train oof`: jobs that predict each fold by models that never saw it, and the table that joins them.

The fitting of a network itself is `training/fit.py`.
"""
