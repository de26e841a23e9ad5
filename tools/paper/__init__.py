"""The paper's experiments, one a file: each writes its results, and says how the report shows them."""
