"""The folder of a run: its record, how runs are found, and how their weights are loaded.

What writes the record while a run trains lives in `training`.
"""
