"""The sections of report.html, one module each: tables of the workspace in, template values out.

Each module has one public function and opens no picture but through the album it is given. The
templates are in `curate/reports/templates/report/`.
"""
