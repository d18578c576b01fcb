"""Human decisions outside of the App: decide, undo, history, merge of journals, agreement of reviewers.

The journal's format and the verdicts derived from it live in `workspace/journal.py`; the App lives in `relabel`.
"""
