"""Seeded backgrounds of boxed clutter: noise of several octaves, gradients and stripes, in integers throughout."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 64
BASE_COLOURS = (72, 184)
# Cell width in pixels -> largest deviation: coarse noise is stronger, as in photographs.
OCTAVES = {32: 24, 16: 18, 8: 14, 4: 10}
GRAIN = 6
GRADIENT = 24
STRIPE_DEPTHS = (12, 40)
STRIPE_PERIODS = (5, 20)
STRIPE_SHARE = 0.5


@cache
def _octave_weights(cell: int) -> NDArray[np.float64]:
    """Bilinear weights from grid points `cell` pixels apart to all pixels: [64, 64 / cell + 1], rows sum to 2 cell.

    Integers held as float64: products stay below 2^53, so the fast matrix product is still exact.
    """
    weights = np.zeros((SIDE, SIDE // cell + 1))
    for pixel in range(SIDE):
        left, offset = divmod(pixel, cell)
        weights[pixel, left + 1] = 2 * offset + 1
        weights[pixel, left] = 2 * cell - weights[pixel, left + 1]
    return weights


def _stripes(rng: np.random.Generator) -> NDArray[np.int64]:
    """Stripes of random direction, period and colour: [3, 64, 64], hard-edged or as a triangular wave."""
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
    """A background [3, 64, 64], values in 0..255, and the colour [3] that it varies about."""
    base = rng.integers(*BASE_COLOURS, 3)
    scene = np.broadcast_to(base[:, None, None], (3, SIDE, SIDE)).astype(np.int64)
    for cell, depth in OCTAVES.items():
        weights, points = _octave_weights(cell), SIDE // cell + 1
        # The part common to the channels makes light and shade, the part of each its hue.
        grid = rng.integers(-depth, depth + 1, (1, points, points)) + rng.integers(
            -depth // 2, depth // 2 + 1, (3, points, points)
        )
        scene += (weights @ grid @ weights.T).astype(np.int64) // (2 * cell) ** 2
    across, down = rng.integers(-GRADIENT, GRADIENT + 1, (2, 3))
    ramp = 2 * np.arange(SIDE) - (SIDE - 1)
    scene += (across[:, None, None] * ramp[None, None, :] + down[:, None, None] * ramp[None, :, None]) // (SIDE - 1)
    if rng.random() < STRIPE_SHARE:
        scene += _stripes(rng)
    scene += rng.integers(-GRAIN, GRAIN + 1, (1, SIDE, SIDE))
    return np.clip(scene, 0, 255), base
