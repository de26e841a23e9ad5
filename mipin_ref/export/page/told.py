"""What a page knows of its explainer: how a picture becomes its input, which classes there are, how it was fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isqrt, prod
from typing import Any

from mipin_ref.data import Preprocessing
from mipin_ref.data.preprocessing import UINT8_SCALE, image_geometry
from mipin_ref.errors import InvalidData
from mipin_ref.text import printable

SMALL = 96
"""Pixels of a side up to which they are shown as squares."""
DRAWN = 64
"""Pixels of a side up to which a picture of one channel may be drawn by hand."""
INK = 20 / 28
"""Share of the side that a drawing's longer side takes, as in MNIST."""
FLAT = 4
"""Pixels of a side above which a flat input may be a square picture."""
FEW = 15
"""Classes up to which all have a bar; bars.js says the same."""


@dataclass(frozen=True)
class Grid:
    """A tensor that is a picture or a map; last: whether its channels are on the last axis."""

    channels: int
    height: int
    width: int
    last: bool = False


@dataclass(frozen=True)
class PageInput:
    """The explainer's first input.

    name, shape: in the ONNX file, of a sample; sample: the shape that the network reads; raw: whether it takes bytes
    and preprocesses them itself, [height, width, channels] or flat, channel by channel; preprocessing: from the bytes
    of an image to what the network reads.
    """

    name: str
    shape: tuple[int, ...]
    sample: tuple[int, ...]
    preprocessing: Preprocessing
    raw: bool = False

    @property
    def grid(self) -> Grid:
        """The network's input as pictures. Raises InvalidData where it is none."""
        geometry = image_geometry(self.sample)
        if geometry is not None:
            return Grid(*geometry, last=len(self.sample) == 3 and self.sample[0] != geometry[0])
        size = prod(self.sample)
        for channels in (1, 3):
            # Flat inputs are pictures where they have as many values as a square one.
            side = isqrt(size // channels)
            if max(self.sample) == size == channels * side**2 and side > FLAT:
                return Grid(channels, side, side)
        raise InvalidData(
            f"page: input {self.name!r} of shape {list(self.sample)} is no picture of one or three channels, which are "
            "what a page explains; export the explainer without a page"
        )

    def settings(self) -> dict[str, Any]:
        """What the page's script is told."""
        grid, of = self.grid, self.preprocessing
        return {
            "name": self.name,
            "shape": list(self.shape),
            "raw": self.raw,
            "rawLast": self.shape == (grid.height, grid.width, grid.channels),
            **asdict(grid),
            "scale": UINT8_SCALE if of.scale is None else of.scale,
            "mean": _each(of.mean, 0.0, grid.channels),
            "std": _each(of.std, 1.0, grid.channels),
            "bgr": of.bgr,
            "exif": of.exif,
        }

    def reading(self) -> str:
        """What is done to a picture, for a visitor."""
        colour = "made gray, " if self.grid.channels == 1 else ""
        size = f"{self.grid.width} × {self.grid.height}"
        return f"It is {colour}resized to cover {size} pixels, and what lies beyond is cut off."


@dataclass(frozen=True)
class Told:
    """What a page says of an explainer.

    model: its name, or ""; input: its first input; target: the name of the second, None where there is one target;
    targets: the classes that can be explained; names: of all classes; probability: "softmax", "sigmoid" or None;
    tensor: what is explained; grid: of that; inner: whether it is not the input; facts: what else is shown, as (what,
    value).
    """

    model: str
    input: PageInput
    target: str | None
    targets: Sequence[int]
    names: Sequence[str]
    probability: str | None
    tensor: str
    grid: Grid
    inner: bool
    facts: Sequence[tuple[str, str]]

    def settings(self) -> dict[str, Any]:
        """What the page's script is told: plain JSON. Names may hold anything."""
        return {
            "input": {**self.input.settings(), "target": self.target},
            "targets": list(self.targets),
            "names": [printable(name) for name in self.names],
            "probability": self.probability,
            "inner": self.inner,
            "tensor": asdict(self.grid),
        }

    def shown(self) -> dict[str, Any]:
        """What the template is told."""
        grid = self.input.grid
        height, width, gray = grid.height, grid.width, grid.channels == 1
        return {
            "title": f"{self.model}: what speaks for each class" if self.model else "What speaks for each class",
            "drawn": gray and height == width <= DRAWN,
            "gray": gray,
            "side": width,
            "ink": round(INK * width),
            "reading": self.input.reading(),
            "many": len(self.names) > FEW,
            "small": max(height, width) <= SMALL,
            "ratio": width / height,
            "size": f"{width} × {height}",
            "inner": self.inner,
            "tensor": f"tensor {self.tensor}" if self.inner else "the input",
            "facts": list(self.facts),
        }


def _each(value: float | Sequence[float] | None, without: float, channels: int) -> list[float]:
    """One number a channel. Raises InvalidData where there are others."""
    if value is None or isinstance(value, int | float):
        return [without if value is None else float(value)] * channels
    if len(value) != channels:
        raise InvalidData(f"page: the preprocessing has {len(value)} numbers for {channels} channels")
    return [float(one) for one in value]
