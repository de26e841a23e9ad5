"""Seeded backgrounds of boxed clutter: noise of several octaves, gradients and stripes, in integers throughout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.pixels import enlarged

SIDE = 64
BASE_COLOURS = (72, 184)
# Cell width in pixels -> largest deviation: coarse noise is stronger, as in photographs.
OCTAVES = {32: 24, 16: 18, 8: 14, 4: 10}
GRAIN = 6
GRADIENT = 24
STRIPE_DEPTHS = (12, 40)
STRIPE_PERIODS = (5, 20)
STRIPE_SHARE = 0.5


def _stripes(rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw stripes of random direction, period and colour [3, 64, 64], hard-edged or as a triangular wave."""
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    # Directions as whole numbers of sixteenths: no sine, whose last digit differs between machines.
    across, down = rng.integers(-16, 17, 2)
    period = 16 * int(rng.integers(*STRIPE_PERIODS))
    phase = (across * x + down * y + rng.integers(period)) % period
    if rng.integers(2):
        wave = np.where(2 * phase < period, 64, -64)
    else:
        wave = 256 * np.abs(phase - period // 2) // period - 64
    depth = rng.integers(*STRIPE_DEPTHS) * rng.integers(-4, 5, (3, 1, 1)) // 4
    striped: NDArray[np.int64] = wave[None] * depth // 64
    return striped


def texture(rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw a background [3, 64, 64], values in 0..255; also the colour [3] that it varies about."""
    base = rng.integers(*BASE_COLOURS, 3)
    scene = np.broadcast_to(base[:, None, None], (3, SIDE, SIDE)).astype(np.int64)
    for cell, depth in OCTAVES.items():
        points = SIDE // cell + 1
        # The part common to the channels makes light and shade, the part of each its hue.
        grid = rng.integers(-depth, depth + 1, (1, points, points)) + rng.integers(
            -depth // 2, depth // 2 + 1, (3, points, points)
        )
        scene += enlarged(grid, SIDE, cell)
    across, down = rng.integers(-GRADIENT, GRADIENT + 1, (2, 3))
    ramp = 2 * np.arange(SIDE) - (SIDE - 1)
    scene += (across[:, None, None] * ramp[None, None, :] + down[:, None, None] * ramp[None, :, None]) // (SIDE - 1)
    if rng.random() < STRIPE_SHARE:
        scene += _stripes(rng)
    scene += rng.integers(-GRAIN, GRAIN + 1, (1, SIDE, SIDE))
    return np.clip(scene, 0, 255), base
