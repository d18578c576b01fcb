"""What a model predicts and how good that is: metrics, intervals, calibration, plots, comparison.

Reads of the test split are counted by `open_runs`. Why a model predicts it is a question for `explain`.
"""
