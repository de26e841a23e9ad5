"""Measures of attributions (method of the paper, section 5 and 6)."""

from mipin_ref.metrics.apc import APC, apc
from mipin_ref.metrics.pointing import GridPointingGame, grid_pointing_game

__all__ = ["APC", "GridPointingGame", "apc", "grid_pointing_game"]
