"""The command line of `train`: each command imports its module, calls it once, prints the result.

`training` has the commands that train, `runs` those that use a finished run. No work is done here.
"""
