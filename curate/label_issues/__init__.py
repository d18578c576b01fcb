"""How suspect a given label is: scores of predicted probabilities, and the error model fitted to verdicts.

No table is read or written here; `stages/flag.py` does that.
"""
