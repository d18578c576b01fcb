"""A curation as tables without pictures: written, checked, compared, and applied to other copies.

`schema` has the tables and their columns; `publish` and `apply` are the commands. Exports with
pictures live in `export`.
"""
