"""The command line of `train`: each command imports its module, calls it once and prints the result.

`training` holds what trains, `runs` what is done with a finished run. No work is done here.
"""
