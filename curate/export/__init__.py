"""The curated set for other programs: class folders, a CSV, a FiftyOne dataset.

Reports for people live in `reports`; exported models in `train/export`.
"""
