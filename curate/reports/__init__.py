"""What a person reads about a workspace: status, check, audit, and HTML pages with their templates.

A report never writes a fact or a verdict.
"""
