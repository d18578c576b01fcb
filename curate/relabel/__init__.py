"""relabel: flagged images -> a person's keystrokes -> decisions in the journal, in the FiftyOne App.

`session` runs the sitting in the program `curate`; it starts a mongod of our own and `app`, a process that alone imports
FiftyOne and serves the App with our plugin. `queue` chooses the images, `where` reads conditions, `ledger` is the journal
as the panel sees it, `database` its copy in the App, and `saving` writes the one and then the other.
"""
