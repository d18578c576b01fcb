"""`train oof`: jobs that predict each fold by models trained on the other folds, and their join.

Fitting a network is in `training/fit.py`; the score of label issues is in `curate/label_issues`.
"""
