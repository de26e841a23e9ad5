"""The experiments of the paper on this package, one module each, and the page that is made of their results.

`tools/reproduce_paper.py` is the command; README.md here holds the tables.
"""
