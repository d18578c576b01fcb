"""The curated set for other tools: image folders, CSV, a FiftyOne dataset.

Reports for people live in `reports`; exported models in `train/export`.
"""
