"""Deletion and insertion curves by explicit loops: one pixel a statement, one image a forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def pixel_curve(
    logits: Callable[[Array], Array],
    image: Array,
    scores: Array,
    target: int,
    counts: list[int],
    filled: Array,
    *,
    insert: bool,
    probability: bool,
) -> tuple[list[float], float]:
    """The target's output after each count of pixels, and the area under that curve.

    logits: image [C, H, W] -> [classes]; image, filled: [C, H, W]; scores: [H, W]; counts: from 0 to H·W.
    """
    height, width = scores.shape
    left = [(i, j) for i in range(height) for j in range(width)]
    now = (filled if insert else image).copy()
    curve, done = [], 0
    for count in counts:
        while done < count:
            best = left[0]
            for pixel in left:
                if scores[pixel] > scores[best]:
                    best = pixel
            left.remove(best)
            for channel in range(len(image)):
                now[channel, best[0], best[1]] = (image if insert else filled)[channel, best[0], best[1]]
            done += 1
        values = [float(value) for value in logits(now)]
        if probability:
            largest = max(values)
            values = [math.exp(value - largest) for value in values]
            values = [value / math.fsum(values) for value in values]
        curve.append(values[target])
    area = 0.0
    for k in range(1, len(counts)):
        area += (counts[k] - counts[k - 1]) / (height * width) * (curve[k] + curve[k - 1]) / 2
    return curve, area


def blurred(image: Array, sigma: float = 5.0, reach: int = 5) -> Array:
    """Each channel of [C, H, W] behind a Gaussian that is cut off at `reach`, its edges mirrored pixel for pixel."""

    def mirrored(i: int, length: int) -> int:
        while not 0 <= i < length:
            i = -1 - i if i < 0 else 2 * length - 1 - i
        return i

    weights = [math.exp(-((u / sigma) ** 2) / 2) for u in range(-reach, reach + 1)]
    out = np.zeros(image.shape)
    channels, height, width = image.shape
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                for u, down in enumerate(weights):
                    for v, along in enumerate(weights):
                        row, column = mirrored(i + u - reach, height), mirrored(j + v - reach, width)
                        out[c, i, j] += down * along * image[c, row, column]
    return out / sum(weights) ** 2
