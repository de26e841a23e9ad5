"""Measures of attributions (method of the paper, section 5 and 6)."""

from mipin_ref.metrics.apc import APC, apc
from mipin_ref.metrics.boxes import BoxAccuracy, box_accuracy
from mipin_ref.metrics.curves import PixelCurve, deletion, insertion
from mipin_ref.metrics.mosaics import arranged_mosaics, tiled
from mipin_ref.metrics.pointing import GridPointingGame, grid_pointing_game
from mipin_ref.metrics.quantus_model import quantus_model
from mipin_ref.metrics.randomization import Randomization, RandomizationStep, randomization
from mipin_ref.metrics.sensitivity import ClassSensitivity, class_sensitivity

__all__ = [
    "APC",
    "BoxAccuracy",
    "ClassSensitivity",
    "GridPointingGame",
    "PixelCurve",
    "Randomization",
    "RandomizationStep",
    "apc",
    "arranged_mosaics",
    "box_accuracy",
    "class_sensitivity",
    "deletion",
    "grid_pointing_game",
    "insertion",
    "quantus_model",
    "randomization",
    "tiled",
]
