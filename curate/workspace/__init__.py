"""The tables that several rooms share: manifest, journal, predictions, receipts; how a stage runs.

A table of one room is written there: leaks.csv in `reports`, the caches beside what they store.
What is computed from the tables is a stage, a report or a review.
"""
