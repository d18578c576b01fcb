"""Human decisions outside of the App: decide, undo, log, merge of journals, agreement and
consensus of reviewers.

The journal's format and the verdicts derived from it live in `workspace/journal.py`, the App in
`relabel`.
"""
