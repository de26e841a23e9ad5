"""What maps are of, by the network's input: the pixels of an image, or the places of a table row, signal or text."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.cli.pictures import image_size
from mipin_ref.errors import InvalidData
from mipin_ref.explain.inputs import Kind
from mipin_ref.explain.predict import Net
from mipin_ref.layers import HostArray, Shape
from mipin_ref.report.saliency import resize_maps, saliency

PARTS: dict[Kind, str] = {"image": "pixel", "signal": "step", "table": "feature", "tokens": "token"}
"""What a sample of each kind has many of."""


@dataclass(frozen=True)
class Places:
    """The places of a sample that methods rate.

    kind: what a sample is; size: (H, W) of its maps, of what is no image one line of all its places; grid: its shape
    without channels, in which metrics take maps.
    """

    kind: Kind
    size: tuple[int, int]
    grid: Shape

    @classmethod
    def of(cls, net: Net, kind: Kind | None = None, stored: tuple[int, int] | None = None) -> Places:
        """Those of a network's input. kind: what its samples are, where that is known; stored: (H, W) of the images
        that a flat input is read from, None where it is not.
        """
        axis = net.channel_axis(net.input)
        grid = tuple(length for at, length in enumerate(net.input_shape, 1) if at != axis)
        size = image_size(net, net.input)
        # Two axes may be a signal's; with channels besides there are two that are places.
        if size is not None and (kind in (None, "image") or axis is not None):
            return cls("image", size, grid)
        if stored is not None and kind == "image" and prod(stored) == prod(grid):
            return cls("image", stored, grid)
        known = kind if kind not in (None, "image") else "tokens" if net.whole else "table"
        return cls(known, (1, prod(grid)), grid)

    @property
    def flat(self) -> bool:
        """Whether maps are one line of places, which have no neighbours above and below."""
        return self.kind != "image"

    @property
    def pictured(self) -> bool:
        """Whether the sample itself is an image, and not only stored as one."""
        return not self.flat and self.size == self.grid

    @property
    def part(self) -> str:
        """What one place is called."""
        return PARTS[self.kind]

    @property
    def sized(self) -> str:
        """How large maps are, in words that follow on what they are of."""
        height, width = self.size
        return f", {width:,} {self.part}s each" if self.flat else f" at {height}×{width}"

    def stepped(self, steps: int, longest: int | None = None) -> str:
        """In how many steps the places of a sample go or come, in words; longest: how many places there are at most."""
        places = prod(self.size) if longest is None else longest
        return f"{self.part} by {self.part}" if steps >= places else f"in {steps} steps"

    def maps(self, res: Attribution, kind: str = "contribution", *, positive: bool = False) -> HostArray:
        """[n, H, W] of a result; kind, positive: as in `saliency`.

        Raises InvalidData where the explained tensor has no such places.
        """
        if self.pictured:
            return saliency(res, kind, positive, self.size)
        values = res.oriented.attribution if kind == "attribution" else res.oriented.contribution
        if self._token_first(values.shape[1:]):
            values = (np.mean if kind == "attribution" else np.sum)(
                values.reshape(len(values), self.size[1], -1), axis=2
            )
        elif res.channel_axis is not None:
            values = (np.mean if kind == "attribution" else np.sum)(values, axis=res.channel_axis)
        if self.kind == "signal" and values.ndim == 2 and res.channel_axis is not None:
            values = resize_maps(np.ascontiguousarray(values[:, None]), self.size)
        if values[0].size != prod(self.size):
            raise InvalidData(
                f"tensor {res.tensor!r} of shape {list(res.value.shape[1:])} does not have the {prod(self.size)} "
                f"{self.part}s of a sample: explain the input"
            )
        if not np.isfinite(values).all():
            raise InvalidData(f"the {kind} of tensor {res.tensor!r} holds NaN or Inf")
        maps = values.reshape(len(values), *self.size)
        return np.maximum(maps, 0) if positive else np.array(maps)

    def fit(self, net: Net, tensor: str) -> bool:
        """Whether a tensor has one value, or as many channels, of each of these places."""
        channels = net.channel_axis(tensor)
        if self._token_first(net.shapes[tensor]):
            return True
        return prod(length for axis, length in enumerate(net.shapes[tensor], 1) if axis != channels) == prod(self.size)

    def _token_first(self, shape: Shape) -> bool:
        """Whether a sample of a tensor holds several axes of features behind that of its tokens, as LSTM do of both
        directions.
        """
        return self.kind == "tokens" and len(shape) > 2 and shape[0] == self.size[1]

    def as_grid(self, maps: HostArray) -> HostArray:
        """Maps [n, H, W] as metrics of pixels take them [n, *grid]."""
        return maps.reshape(len(maps), *self.grid)
