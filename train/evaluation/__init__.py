"""What a model predicts and how good that is: metrics, intervals, calibration, plots, comparison.

`open_runs` counts the reads of the test split. Why a model predicts a class is a question for
`explain`.
"""
