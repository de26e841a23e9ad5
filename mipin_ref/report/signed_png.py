"""A signed map as a small PNG that shows its colours, lies over a picture, and still holds its values."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from mipin_ref.errors import InvalidData
from mipin_ref.report.heatmap import as_finite

LEVELS = 127
"""Steps from zero to the scale: no value within it is off by more than scale / (2 * LEVELS)."""
CUT = 99.5
"""Percentile of the magnitudes at which the colours of a page and of an overlay are full."""
FEW = 1024
"""Pixels of a map up to which four bytes a pixel are shorter than a table of colours."""


@dataclass(frozen=True)
class SignedPng:
    """png: of [H, W] pixels, red where values are positive, blue where negative, as opaque as they are large: over
    white the colours of `heatmap`; scale: the magnitude from which on a pixel is opaque, 0 of a map that is zero
    everywhere; largest: the largest magnitude, which may lie beyond; size: (H, W).
    """

    png: bytes
    scale: float
    size: tuple[int, int]
    largest: float


def contrast_scale(maps: Iterable[npt.ArrayLike], percentile: float = CUT) -> float:
    """The magnitude below which `percentile` % of all values of the maps lie, so that a few large ones hide no others.

    The largest magnitude where that is zero, as of maps with few values that are not; 0 where all are zero.
    Raises InvalidData for values that are not real numbers, NaN, Inf, and where there is no value.
    """
    magnitudes = np.concatenate([np.abs(as_finite(one, "map")).ravel() for one in maps])
    if not magnitudes.size:
        raise InvalidData("map: holds no values")
    return float(np.percentile(magnitudes, percentile)) or float(magnitudes.max())


def signed_png(a: npt.ArrayLike, scale: float | None = None) -> SignedPng:
    """A map [H, W], each value rounded to the nearest of 2 * LEVELS + 1 levels between -scale and scale.

    scale: the magnitude from which on colours are full, None for the largest of the map.
    Raises InvalidData for another rank, an empty map, values that are not real numbers, NaN or Inf.
    """
    values = as_finite(a, "map")
    if values.ndim != 2 or values.size == 0:
        raise InvalidData(f"map: needs a map [H, W], not shape {list(values.shape)}")
    largest = float(np.abs(values).max())
    full = largest if scale is None else scale
    # Divided first: a scale below the smallest normal number has no finite inverse.
    levels = np.rint(np.clip(values / full, -1, 1) * LEVELS) if full > 0 else np.zeros_like(values)
    picture = Image.fromarray((levels + LEVELS).astype(np.uint8), mode="P")
    rgba = level_colours()
    picture.putpalette(rgba[:, :3].tobytes())
    picture.info["transparency"] = rgba[:, 3].tobytes()
    if values.size <= FEW:
        picture = Image.fromarray(rgba[(levels + LEVELS).astype(int)], mode="RGBA")
    return SignedPng(png_bytes(picture), full, (values.shape[0], values.shape[1]), largest)


def level_colours() -> npt.NDArray[np.uint8]:
    """[2 * LEVELS + 1, 4]: red, green, blue and opacity of each level, so that a reader may go back from colour."""
    level = np.arange(-LEVELS, LEVELS + 1)
    rgba = np.zeros((len(level), 4), np.uint8)
    rgba[level > 0, 0] = 255
    rgba[level < 0, 2] = 255
    rgba[:, 3] = np.rint(255 * np.abs(level) / LEVELS)
    return rgba


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
