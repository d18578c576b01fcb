"""How suspect a given label is: scores of predicted probabilities, and an error model of verdicts.

No table is read or written here; `stages/flag.py` does that.
"""
