"""`train report`: one page about finished runs, from the files that other commands wrote.

It scores nothing itself, but it maps what a model looked at in its most confident mistakes. Its
templates are in `templates/`, the frame and the charts of every page in `curate/templates/`.
"""
