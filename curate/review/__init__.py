"""Human decisions outside of the App: decide, undo, log, merge of journals, agreement and
consensus of reviewers.

The journal and the verdicts derived from it live in `workspace`, the App in `relabel`.
"""
