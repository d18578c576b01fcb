"""What it takes to run FiftyOne beside the user's own: a mongod, its processes, its environment.

Knows nothing of labels or reviews. `relabel` and `export` use it.
"""
