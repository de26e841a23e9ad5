"""Sliding-window geometry shared by convolution and pooling: numbers only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd, prod
from typing import Any

import numpy as np

LONG = 1 << 10
"""Strides up to here are left as the file has them, however small the map is."""


@dataclass(frozen=True)
class Window:
    """Kernel taps u touch input locations i = j·stride - begin + u·dilation for output location j, per axis.

    Every field has one entry per spatial axis; begin and end are the paddings.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    dilations: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Input locations spanned by one window, holes of the dilation included."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def taps(self) -> int:
        return prod(self.kernel)

    @property
    def tap_dtype(self) -> np.dtype[Any]:
        """The smallest integers that count the taps."""
        return np.dtype(np.uint8 if self.taps <= 256 else np.int32)

    @property
    def pointwise(self) -> bool:
        """Whether each location sees itself alone: a 1×1 kernel without stride or padding."""
        return self.taps == 1 and set(self.strides) == {1} and not any(self.begin + self.end)

    @property
    def offsets(self) -> list[tuple[int, ...]]:
        """u·dilation of every kernel tap u, in C order."""
        offsets: list[tuple[int, ...]] = [()]
        for k, d in zip(self.kernel, self.dilations, strict=True):
            offsets = [(*before, u * d) for before in offsets for u in range(k)]
        return offsets

    @property
    def overlapping(self) -> bool:
        """Whether one input location can lie in several windows."""
        return any(e > s for e, s in zip(self.extent, self.strides, strict=True))

    def output_size(self, size: tuple[int, ...], *, ceil_mode: bool = False) -> tuple[int, ...]:
        """Output locations for an input of `size`; a ceil_mode window that starts in the end padding is dropped."""
        out = []
        for n, e, s, b, f in zip(size, self.extent, self.strides, self.begin, self.end, strict=True):
            free = n + b + f - e
            count = (-(-free // s) if ceil_mode else free // s) + 1
            if ceil_mode and (count - 1) * s >= n + b:
                count -= 1
            out.append(count)
        return tuple(out)

    def clamped(self, size: tuple[int, ...]) -> Window:
        """The same window on a map of `size`, no stride and no idle dilation beyond LONG and the padded map.

        There only location 0 exists, but whoever counts up to the stride would not end.
        """
        most = [max(n + b + f, LONG) for n, b, f in zip(size, self.begin, self.end, strict=True)]
        strides = tuple(min(s, n) for s, n in zip(self.strides, most, strict=True))
        dilations = tuple(min(d, n) if k == 1 else d for d, n, k in zip(self.dilations, most, self.kernel, strict=True))
        return replace(self, strides=strides, dilations=dilations)

    def meetings(self, locations: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
        """An upper bound, along each axis, of the pairs of taps that meet at locations outside an input of `size`."""
        pairs = []
        for a, (j, n) in enumerate(zip(locations, size, strict=True)):
            reach = (j - 1) * self.strides[a] + self.extent[a]
            outside = self.begin[a] + max(0, reach - self.begin[a] - n)
            # Taps that reach one location lie this far apart.
            apart = self.strides[a] // gcd(self.strides[a], self.dilations[a])
            pairs.append(outside * min(-(-self.kernel[a] // apart), j) ** 2)
        return tuple(pairs)

    def spread(self, offset: tuple[int, ...], locations: tuple[int, ...]) -> tuple[slice, ...]:
        """Where one tap lands on the padded input for every output location: a strided slice an axis."""
        return tuple(slice(u, u + (j - 1) * s + 1, s) for u, j, s in zip(offset, locations, self.strides, strict=True))

    def padded(self, locations: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
        """A padded input that holds every window and all of `size` behind the begin padding."""
        return tuple(
            max((j - 1) * s + e, b + n)
            for j, s, e, b, n in zip(locations, self.strides, self.extent, self.begin, size, strict=True)
        )

    def crop(self, size: tuple[int, ...]) -> tuple[slice, ...]:
        """The input itself within the padded input."""
        return tuple(slice(b, b + n) for b, n in zip(self.begin, size, strict=True))

    @property
    def attributes(self) -> dict[str, tuple[int, ...]]:
        """The geometry as ONNX's attributes."""
        return {
            "kernel_shape": self.kernel,
            "strides": self.strides,
            "pads": self.begin + self.end,
            "dilations": self.dilations,
        }

    def describe(self) -> str:
        """The geometry as a table cell, defaults left out."""
        parts = ["×".join(map(str, self.kernel))]
        if set(self.strides) != {1}:
            parts.append("stride " + "×".join(map(str, self.strides)))
        if any(self.begin) or any(self.end):
            parts.append("pad " + (_axes(self.begin) if self.begin == self.end else f"{self.begin}+{self.end}"))
        if set(self.dilations) != {1}:
            parts.append("dilation " + _axes(self.dilations))
        return ", ".join(parts)


def _axes(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "×".join(map(str, values))
