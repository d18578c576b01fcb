"""How suspect a given label is, and what verdicts teach: the error model, the class posterior.

No table is read or written here; `stages/flag.py` does that.
"""
