"""The command line of `curate`: each command imports its stage, calls it and prints the result.

`pipeline` holds the stages and reports, `review` the decisions of people. No work is done here.
"""
