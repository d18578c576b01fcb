"""The review session in the FiftyOne App: flagged images -> a person's keys -> decisions in the journal.

`command` runs the session in the program `curate`; `app` is the process that alone imports FiftyOne and serves the App
with our plugin. Decisions without the App live in `review`; mongod and its processes in `fiftyone_host`.
"""
