"""Notebooks in text form, a cell behind each `# %%`: editors show them as notebooks, Python runs them."""
