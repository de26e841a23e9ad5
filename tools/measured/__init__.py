"""Figures on pages: each table a JSON file in tables/, measured by its own commands, of which the pages are written."""
