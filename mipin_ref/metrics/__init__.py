"""Measures of attributions (method of the paper, section 5 and 6)."""

from mipin_ref.metrics.apc import APC, apc

__all__ = ["APC", "apc"]
