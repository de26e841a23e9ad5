"""Which output location a tap of a window connects to which input location, as pairs of strided slices."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

Slices = tuple[slice, ...]


def links(window: dict[str, Any], in_map: list[int], out_map: list[int]) -> Iterator[tuple[int, Slices, Slices]]:
    """(tap, outputs, inputs) for each tap in C order: i = j · stride - begin + u · dilation where i exists.

    The slices select equal numbers of locations; taps that meet the padding alone select none.
    """
    for number, tap in enumerate(product(*(range(size) for size in window["kernel"]))):
        outputs, inputs = [], []
        for axis, u in enumerate(tap):
            stride = window["strides"][axis]
            shift = u * window["dilations"][axis] - window["begin"][axis]
            inside = [j for j in range(out_map[axis]) if 0 <= j * stride + shift < in_map[axis]]
            low, high = (inside[0], inside[-1] + 1) if inside else (0, 0)
            first = low * stride + shift if inside else 0
            outputs.append(slice(low, high))
            inputs.append(slice(first, first + max(0, (high - low - 1) * stride + 1) if inside else 0, stride))
        yield number, tuple(outputs), tuple(inputs)
