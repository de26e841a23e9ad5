"""A signed map as a small PNG that shows its colours and still holds its values."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from mipin_ref.errors import InvalidData
from mipin_ref.report.heatmap import as_finite, heatmap

LEVELS = 127
"""Steps from zero to the largest absolute value: no value is off by more than scale / (2 * LEVELS)."""


@dataclass(frozen=True)
class SignedPng:
    """png: of [H, W] pixels in the colours of `heatmap`, one colour a level, so that a reader may go back from colour
    to level; scale: the largest absolute value, 0 of a map that is zero everywhere; size: (H, W).
    """

    png: bytes
    scale: float
    size: tuple[int, int]


def signed_png(a: npt.ArrayLike) -> SignedPng:
    """A map [H, W], each value rounded to the nearest of 2 * LEVELS + 1 levels between -max|a| and max|a|.

    Raises InvalidData for another rank, an empty map, values that are not real numbers, NaN or Inf.
    """
    values = as_finite(a, "map")
    if values.ndim != 2 or values.size == 0:
        raise InvalidData(f"map: needs a map [H, W], not shape {list(values.shape)}")
    scale = float(np.abs(values).max())
    # Divided first: a scale below the smallest normal number has no finite inverse.
    levels = np.rint(values / scale * LEVELS) if scale > 0 else np.zeros_like(values)
    picture = Image.fromarray((levels + LEVELS).astype(np.uint8), mode="P")
    picture.putpalette(heatmap(np.arange(-LEVELS, LEVELS + 1)[None]).tobytes())
    return SignedPng(png_bytes(picture), scale, (values.shape[0], values.shape[1]))


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as the bytes of a PNG file."""
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()


def block_means(maps: npt.NDArray[np.floating], factor: int) -> npt.NDArray[np.floating]:
    """Maps [N, H, W] as means [N, ⌈H / factor⌉, ⌈W / factor⌉] of blocks; those at the end may be smaller."""
    means = maps
    for axis in (1, 2):
        starts = np.arange(0, maps.shape[axis], factor)
        counts = np.diff(np.append(starts, maps.shape[axis]))
        shape = [1, 1, 1]
        shape[axis] = len(counts)
        means = np.add.reduceat(means, starts, axis=axis) / counts.reshape(shape)
    return means
