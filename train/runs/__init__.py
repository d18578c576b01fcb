"""The folder of a run: its record, how runs are found, and how their weights are loaded.

`training` writes the files of a run while it trains.
"""
