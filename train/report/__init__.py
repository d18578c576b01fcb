"""`train report` and `train card`: a page and a card of finished runs, from others' files.

They score nothing themselves, but the page maps what a model looked at in its most confident
mistakes. Their templates are in `templates/`; what pages and cards of both programs share is in
`curate/pages/`.
"""
