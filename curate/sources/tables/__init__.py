"""Readers that several layouts share: CSV, pixel tables, picture folders and AffectNet's codes.

A reader of one dataset alone is part of its layout, one folder up.
"""
