"""What a person reads about a workspace: status, check and audit, leaks.csv, and two pages.

The pages are audit.html (`leaks`) and report.html (`report`), from the templates in `templates/`. A
report never writes a fact or a verdict.
"""
