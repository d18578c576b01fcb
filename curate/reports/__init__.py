"""What a person reads about a workspace: status, check and audit, leaks.csv, two pages and a card.

The pages are audit.html (`leaks`) and report.html (`report`), from the templates in `templates/`;
the card is README.md and croissant.json. A report never writes a fact or a verdict.
"""
