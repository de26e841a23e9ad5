"""The passes of a fit on the workers of a Dask cluster."""
