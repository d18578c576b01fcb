"""The review session in the FiftyOne App: flagged images -> keys -> decisions in the journal.

`command` runs the session in the program `curate`; `app` is the process that imports FiftyOne and
serves the App with our plugin. Decisions without the App live in `review`, mongod and the
processes of FiftyOne in `fiftyone_host`.
"""
