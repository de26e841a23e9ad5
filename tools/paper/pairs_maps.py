"""Maps of either object of a scene of two, at the last map, at the pixels, and at the pixels as coarse as the last map;
what they are measured by, and maps that need no attribution method.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import mipin_ref as mr
from paper.intervals import bootstrap
from paper.places import last_map

Maps = NDArray[np.floating[Any]]

LAST, COARSE, PIXELS = "last map", "pixels, 8×8", "pixels"
PLACES = (LAST, COARSE, PIXELS)
CELL = 8
"""Pixels of a side of what one place of the last map stands for."""
TOKENS = {"pairs_vit": "/block2/Add_1_output_0"}
"""Where the last map is one of tokens: those that the last attention reads, a class token in front."""


def last_of(name: str, net: mr.Network) -> str:
    """The last map of a network, of tokens where it has these."""
    return TOKENS.get(name) or last_map(net)


def summed(values: Maps, axis: int | None) -> Maps:
    """Maps [N, h, w] of values: their sum over channels, which lie on an axis; of tokens those behind the class token,
    as a square.
    """
    total: Maps = values if axis is None else values.sum(axis=axis)
    if total.ndim == 3:
        return total
    side = round((total.shape[1] - 1) ** 0.5)
    square: Maps = total[:, 1:].reshape(len(total), side, side)
    return square


def map_of(res: mr.Attribution) -> Maps:
    """The signed map [N, h, w] of A·X of an attribution, as `mr.saliency` makes it, of tokens too."""
    return summed(res.oriented.contribution, res.channel_axis)


def coarse(maps: Maps) -> Maps:
    """Maps [N, H, W] of pixels as sums over cells of as many pixels as a place of the last map stands for."""
    n, height, width = maps.shape
    sums: Maps = maps.reshape(n, height // CELL, CELL, width // CELL, CELL).sum(axis=(2, 4))
    return sums


def placed(maps: Maps, size: tuple[int, int]) -> Maps:
    """Maps of places as maps [N, H, W] of pixels, resized as `mr.saliency` does it."""
    height, width = size
    pictures = [Image.fromarray(np.asarray(one, np.float32)) for one in maps]
    return np.stack([np.asarray(one.resize((width, height), Image.Resampling.BILINEAR)) for one in pictures])


def at_places(maps: Maps, end: str, size: tuple[int, int]) -> dict[str, Maps]:
    """Maps of pixels by place of what was explained at an end, the last map or the pixels."""
    return {LAST: placed(maps, size)} if end == LAST else {COARSE: placed(coarse(maps), size), PIXELS: maps}


def mass(maps: Maps, boxes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share [N] in the box of the positive values of a map; maps [N, H, W], boxes [N, 4]. NaN where there are none."""
    inside = [np.maximum(one[y0:y1, x0:x1], 0).sum() for one, (x0, y0, x1, y1) in zip(maps, boxes, strict=True)]
    total = np.maximum(maps, 0).sum(axis=(1, 2))
    share: NDArray[np.float64] = np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)
    return share


def box(maps: Maps, boxes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Box accuracy [N] of maps [N, H, W] and boxes [N, 4]; a map that is equal everywhere scores 0."""
    if (maps == maps[:, :1, :1]).all():
        return np.zeros(len(maps))
    return mr.metrics.box_accuracy(maps, boxes).scores


def pointing(maps: list[Maps], boxes: NDArray[np.int64]) -> dict[str, Any]:
    """Where maps of either turn [N, H, W] point: for each object box accuracy and mass in the box asked for, and both
    of both objects, with their intervals (scenes are what is drawn), boxes [N, 2, 4]; empty: maps without a positive
    value, whose mass counts as 0.
    """
    boxed = np.stack([box(one, boxes[:, turn]) for turn, one in enumerate(maps)], axis=1)
    share = np.stack([mass(one, boxes[:, turn]) for turn, one in enumerate(maps)], axis=1)
    empty, share = int(np.isnan(share).sum()), np.nan_to_num(share, nan=0.0)
    return {
        "box": bootstrap(boxed.mean(axis=1)),
        "mass": bootstrap(share.mean(axis=1)),
        "boxes": [bootstrap(boxed[:, turn]) for turn in (0, 1)],
        "masses": [bootstrap(share[:, turn]) for turn in (0, 1)],
        "empty": empty,
    }


CENTRE, CLASSLESS, ORACLE = "centre Gaussian", "class-less sum", "oracle"
WITHOUT = (CENTRE, CLASSLESS, ORACLE)
"""Rows without an attribution method: a Gaussian about the centre; the sum over channels of the last map's magnitudes,
the same for either object; and what none can surpass, the box that is asked for.
"""


def gaussian(count: int, side: int) -> Maps:
    """Gaussians [count, side, side] about the centre, a quarter of the side wide."""
    steps = (np.arange(side) + 0.5) / side - 0.5
    one = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * 0.25**2))
    return np.broadcast_to(one, (count, side, side)).copy()


def boxes_drawn(boxes: NDArray[np.int64], size: tuple[int, int]) -> Maps:
    """Maps [N, H, W] of 1 in boxes [N, 4], 0 elsewhere."""
    maps = np.zeros((len(boxes), *size))
    for one, (x0, y0, x1, y1) in zip(maps, boxes, strict=True):
        one[y0:y1, x0:x1] = 1
    return maps


def without(
    row: str, end: str, activations: Maps, axis: int | None, boxes: NDArray[np.int64], size: Any
) -> Maps | None:
    """Maps of a row of WITHOUT, at the places of an end, for boxes [N, 4]; None where there is none.

    activations: of the last map, whose channels lie on an axis.
    """
    if row == CLASSLESS:
        return summed(np.abs(activations), axis) if end == LAST else None
    if row == ORACLE:
        drawn = boxes_drawn(boxes, size)
        return coarse(drawn) if end == LAST else drawn
    return gaussian(len(boxes), size[0] // CELL if end == LAST else size[0])
