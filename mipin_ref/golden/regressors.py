"""The regressors of each kind of shared weights, written out, and where its block of weights holds them.

One entry a kind, by its exact class: a kind that is not there is refused by name. Signals come with their channels in
front [n, out, *locations], sizes of the tensor without its channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import numpy as np

from mipin_ref.backend import get_backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.layers import Conv, ConvTranspose, Dense, HostArray, Shape, Shared, TokenDense, as_kind
from mipin_ref.layers.padding import padded


class Regressors(ABC):
    """One kind's. kernel: whether its weights are [outputs, channels, taps], not [channels, outputs · taps]."""

    kernel: ClassVar[bool] = False

    @abstractmethod
    def groups(self, layer: Shared) -> int:
        """How many groups the channels of the tensor fall into, each with regressors of its own."""

    @abstractmethod
    def columns(self, layer: Shared, group: int, signal: HostArray, size: Shape) -> HostArray:
        """The regressors of a group's channels at each location [n, locations, k]."""

    @abstractmethod
    def place(self, layer: Shared, block: HostArray, channels: tuple[int, ...], group: int) -> HostArray:
        """The part of a block that channels of one group use, a view: [channels, k], or [outputs, channels, taps]."""


class _Rows(Regressors):
    """A Dense: the signal above at one location, or at each."""

    def groups(self, layer: Shared) -> int:
        return 1

    def columns(self, layer: Shared, group: int, signal: HostArray, size: Shape) -> HostArray:
        return signal.reshape(*signal.shape[:2], -1).transpose(0, 2, 1)

    def place(self, layer: Shared, block: HostArray, channels: tuple[int, ...], group: int) -> HostArray:
        return block[channels[0] : channels[-1] + 1]


class _Convolved(Regressors):
    """A Conv: at input location i and tap u the signal of output location j, i = j·s - p + u·d."""

    kernel = True

    def groups(self, layer: Shared) -> int:
        return as_kind(layer, Conv).groups

    def columns(self, layer: Shared, group: int, signal: HostArray, size: Shape) -> HostArray:
        conv = as_kind(layer, Conv)
        window, outputs = conv.window, conv.weight.shape[0] // conv.groups
        s = signal[:, group * outputs : (group + 1) * outputs]
        locations = s.shape[2:]
        like = padded(get_backend(), np.zeros((*s.shape[:2], *size)), window, locations)
        canvas: Any = np.zeros((window.taps, *like.shape))
        for tap, offset in enumerate(window.offsets):
            canvas[(tap, ..., *window.spread(offset, locations))] = s
        cut: HostArray = canvas[(..., *window.crop(size))].reshape(window.taps, *s.shape[:2], -1)
        return cut.transpose(1, 3, 2, 0).reshape(len(s), cut.shape[3], outputs * window.taps)

    def place(self, layer: Shared, block: HostArray, channels: tuple[int, ...], group: int) -> HostArray:
        conv = as_kind(layer, Conv)
        outputs, within = conv.weight.shape[0] // conv.groups, conv.weight.shape[1]
        first, local = group * outputs, [m % within for m in channels]
        taps = block.reshape(*block.shape[:2], -1)
        return taps[first : first + outputs, local[0] : local[-1] + 1]


class _Transposed(Regressors):
    """A ConvTranspose: at input location j and tap u the signal of output location i = j·s - p + u·d."""

    def groups(self, layer: Shared) -> int:
        return as_kind(layer, ConvTranspose).groups

    def columns(self, layer: Shared, group: int, signal: HostArray, size: Shape) -> HostArray:
        conv = as_kind(layer, ConvTranspose)
        window, outputs = conv.window, conv.weight.shape[1]
        s = signal[:, group * outputs : (group + 1) * outputs]
        canvas = padded(get_backend(), s, window, size)
        cuts = np.stack([canvas[(..., *window.spread(offset, size))] for offset in window.offsets])
        return cuts.reshape(*cuts.shape[:3], -1).transpose(1, 3, 2, 0).reshape(len(s), prod(size), -1)

    def place(self, layer: Shared, block: HostArray, channels: tuple[int, ...], group: int) -> HostArray:
        part = block[channels[0] : channels[-1] + 1]
        return part.reshape(len(part), -1)


REGRESSORS: Mapping[type, Regressors] = {
    **dict.fromkeys((Dense, TokenDense), _Rows()),
    Conv: _Convolved(),
    ConvTranspose: _Transposed(),
}


def regressors_of(layer: Shared) -> Regressors:
    """Raises UnsupportedModel, naming the layer, where its kind is not among REGRESSORS."""
    known = REGRESSORS.get(type(layer))
    if known is None:
        raise UnsupportedModel(f"the regressors of layer {layer.name!r} ({type(layer).__name__}) are not written out")
    return known
