"""The page that shows where in an input a map of an inner tensor lies: input, map, map over the input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData
from mipin_ref.report.heatmap import as_finite, heatmap
from mipin_ref.report.page import Picture, compose_page
from mipin_ref.report.picture import channels_last, to_picture

RED = (255.0, 0.0, 0.0)
STRONGEST = 0.8
"""How much red covers the gray where the map is largest."""
DARKEST = 85.0
"""The gray of black, so that red shows on it."""


def overlay_page(
    images: npt.ArrayLike,
    maps: npt.ArrayLike,
    logits: npt.ArrayLike,
    titles: Sequence[str],
    *,
    kind: str,
    channel_axis: int | None = 1,
    heading: str = "",
    cell: int = 140,
) -> Picture:
    """A page [height, width, 3] uint8, one row per sample: input, map, and the map in red over the gray input.

    images: [N, ...] inputs with channels on `channel_axis` (None: [N, H, W]); maps: [N, H, W] of values >= 0, resized
    to the input; logits: [N] target logit; titles: [N], such as the class; kind: what the maps are, for the heading of
    their column, and a line below it after a newline.
    Raises InvalidData where shapes or lengths do not match, there is no sample, or values are NaN or Inf.
    """
    values = channels_last(images, channel_axis, "images")
    shown, of_input = as_finite(maps, "maps"), as_finite(logits, "logits")
    samples = len(values)
    if shown.shape != values.shape[:3] or of_input.shape != (samples,) or len(titles) != samples:
        raise InvalidData(
            f"overlay page: images {list(np.shape(images))} need a map of their size, a logit and a title each, not "
            f"{list(shown.shape)}, {list(of_input.shape)} and {len(titles)}"
        )
    rows = [(to_picture(x, x), heatmap(one), overlay(x, one)) for x, one in zip(values, shown, strict=True)]
    told = zip(titles, of_input, shown, strict=True)
    lines = [f"{title}\nlogit {logit:.4g}, {_largest(one)}" for title, logit, one in told]
    headings = ("input\n", kind, "map over the input\n(in gray)")
    return compose_page(rows, headings, lines, heading=heading, signed=False, cell=cell)


def _largest(one: npt.NDArray[np.float64]) -> str:
    """What full red stands for: each map has its own scale, and a small remainder may look important."""
    return f"full red {one.max():.3g}" if one.max() > 0 else "nothing speaks for the class"


def overlay(image: npt.NDArray[np.float64], one: npt.NDArray[np.float64]) -> Picture:
    """A map [H, W] of values >= 0 in red over an image [H, W, C] in gray; a map of zeros leaves the gray as it is."""
    gray = image.mean(axis=-1, keepdims=True)
    ground = DARKEST + to_picture(gray, gray) * ((255 - DARKEST) / 255)
    share = STRONGEST * np.maximum(one, 0) / (one.max() if one.max() > 0 else 1.0)
    mixed = ground * (1 - share[..., None]) + np.asarray(RED) * share[..., None]
    picture: Picture = np.rint(mixed).astype(np.uint8)
    return picture
