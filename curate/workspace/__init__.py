"""The tables of one curation: manifest, journal, predictions, receipts; and how a stage runs.

Every reader and writer of a workspace file lives here. What is computed from the tables does not:
that is a stage, a report or a review.
"""
