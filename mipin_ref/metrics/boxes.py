"""Box accuracy: how many of the highest-scored pixels lie inside the object's bounding box."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData, shown
from mipin_ref.metrics.checks import Maps, as_array, checked_maps
from mipin_ref.metrics.record import Record, Row, scored

PERCENT = 33
"""Boxes that cover so much of the image, or more, are left out (paper, 6.3)."""

WANTED = "boxes must be integers (x0, y0, x1, y1), several of them, or a boolean mask [H, W], for each map"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BoxAccuracy(Record):
    """scores: [N] share of the n highest-scored pixels that lie among the n pixels of the box, NaN where left out;
    mean: of the others; chance: what a random ranking scores on them, the mean share of the image that is box;
    left_out: boxes that cover 33 % of the image or more; flat: maps, of the others, that are equal everywhere and
    score 0.
    """

    scores: npt.NDArray[np.float64]
    mean: float
    chance: float
    left_out: int
    flat: int

    def rows(self) -> list[Row]:
        """One a map: sample, score (NaN where it is left out)."""
        return scored(self.scores)

    def __str__(self) -> str:
        kept = len(self.scores) - self.left_out
        line = f"box accuracy {self.mean:.4f} (mean of {kept} maps, {self.chance:.4f} by chance"
        line += f", {self.flat} of them equal everywhere, which score 0" if self.flat else ""
        return line + (
            f"; {self.left_out} boxes of {PERCENT} % of the image or more left out)" if self.left_out else ")"
        )


def box_accuracy(maps: npt.ArrayLike | Iterable[npt.ArrayLike], boxes: Iterable[npt.ArrayLike]) -> BoxAccuracy:
    """The share of the n highest-scored pixels that fall inside a box of n pixels (paper, 6.3; relevance rank accuracy
    in Arras, Osman, Samek, CLEVR-XAI, Information Fusion 2022).

    maps: [N, H, W] floats, or N arrays [H, W] where images differ in size; higher scores first, signed as they are.
    boxes: for each map (x0, y0, x1, y1), half-open pixels of the map, several such boxes [k, 4], which count as the
    pixels that any of them covers, or a boolean mask [H, W]; so also one array [N, 4], [N, k, 4] or [N, H, W].
    Pixels of equal score are taken in pixel order, row by row from the top. A map that is equal everywhere (all zero,
    say) ranks nothing: it scores 0 and is counted, for a method shall not gain by an empty map.
    Raises InvalidData for a box that is empty or leaves its map, boxes and maps that differ in number or size, another
    dtype or shape, NaN, Inf, and where no box is small enough or all maps are equal everywhere.

    >>> import numpy as np
    >>> import mipin_ref as mr
    >>> scores = np.arange(24.0).reshape(1, 4, 6)
    >>> print(mr.metrics.box_accuracy(scores, [(0, 3, 6, 4)]))
    box accuracy 1.0000 (mean of 1 maps, 0.2500 by chance)
    """
    values, given = _listed(maps, "maps"), _listed(boxes, "boxes")
    if len(values) != len(given):
        raise InvalidData(f"box accuracy: there are {len(given)} boxes for {len(values)} maps")
    if not values:
        raise InvalidData("box accuracy: there is no map")
    # All are checked before any is ranked.
    pairs = [_checked(number, one, box) for number, (one, box) in enumerate(zip(values, given, strict=True))]
    kept = np.array([is_small(inside) for _, inside in pairs])
    flat = np.array([bool((one == one.flat[0]).all()) for one, _ in pairs])
    if not kept.any():
        raise InvalidData(f"box accuracy: no box covers less than {PERCENT} % of its image")
    if flat[kept].all():
        raise InvalidData("box accuracy: every map has the same score at all its pixels, so that nothing is ranked")
    scores = np.full(len(pairs), np.nan)
    for number in np.flatnonzero(kept):
        scores[number] = 0.0 if flat[number] else _score(*pairs[number])
    chance = np.mean([inside.mean() for (_, inside), use in zip(pairs, kept, strict=True) if use])
    return BoxAccuracy(scores, float(scores[kept].mean()), float(chance), int((~kept).sum()), int((flat & kept).sum()))


def is_small(inside: Mask) -> bool:
    """Whether a box counts: it covers less than 33 % of its image."""
    return 100 * int(inside.sum()) < PERCENT * inside.size


def _score(one: Maps, inside: Mask) -> float:
    count = int(inside.sum())
    first = np.argsort(-one, axis=None, kind="stable")[:count]
    return float(inside.ravel()[first].sum() / count)


def _checked(number: int, one: npt.ArrayLike, box: npt.ArrayLike) -> tuple[Maps, Mask]:
    """The map [H, W] and the pixels of its box [H, W]."""
    metric = f"box accuracy, map {number}"
    scores = checked_maps(metric, one, "scores", "H, W")
    return scores, inside_of(metric, box, scores.shape)


def inside_of(metric: str, box: npt.ArrayLike, shape: tuple[int, ...]) -> Mask:
    """The pixels [H, W] that a box, several or a mask cover in a map of that shape; see `box_accuracy`.

    Raises InvalidData for one that is empty, leaves the map or is none of these; metric: how messages begin.
    """
    given = as_array(metric, box, WANTED)
    if given.dtype == np.bool_ and given.ndim == 2:
        if given.shape != shape:
            raise InvalidData(f"{metric}: the mask has shape {list(given.shape)}, the map has shape {list(shape)}")
        if not given.any():
            raise InvalidData(f"{metric}: the mask is empty")
        return given
    corners = given[None] if given.ndim == 1 else given
    if corners.ndim != 2 or corners.shape[1] != 4 or not np.issubdtype(given.dtype, np.integer):
        raise InvalidData(f"{metric}: {WANTED}, not {given.dtype} of shape {list(given.shape)}")
    if not len(corners):
        raise InvalidData(f"{metric}: there is no box")
    inside = np.zeros(shape, np.bool_)
    height, width = shape
    for x0, y0, x1, y1 in corners.tolist():
        if x0 >= x1 or y0 >= y1:
            raise InvalidData(f"{metric}: box ({x0}, {y0}, {x1}, {y1}) is empty; it must have x0 < x1 and y0 < y1")
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            raise InvalidData(f"{metric}: box ({x0}, {y0}, {x1}, {y1}) leaves its map of {width}×{height} pixels")
        inside[y0:y1, x0:x1] = True
    return inside


def _listed(values: Any, what: str) -> list[Any]:
    try:
        return list(values)
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"box accuracy: {what} must be one for each image, not {shown(values)}") from error
