"""What it takes to run FiftyOne beside the user's own: a mongod, processes and an environment.

Nothing here depends on labels or reviews; `relabel` and `export` use it.
"""
