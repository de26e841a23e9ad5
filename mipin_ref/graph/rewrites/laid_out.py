"""Layers that take the place of one: moves before it, what it becomes, and moves behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Gather, Reshape, Shape, Transpose, Wired


@dataclass(frozen=True)
class Laid:
    """A tensor and the shape of a sample."""

    name: str
    shape: Shape


class LaidOut:
    """Collects the layers, and puts them in place at the end; a move that changes nothing is left out."""

    def __init__(self, wiring: Wiring, label: str) -> None:
        self._wiring, self._label = wiring, label
        self._layers: list[Wired] = []
        self._taken: set[str] = set()

    def name(self, role: str) -> str:
        """A name for a new tensor."""
        name = self._wiring.new_name(self._label, role)
        while name in self._taken:
            name += "'"
        self._taken.add(name)
        return name

    def placed(self, layer: Wired) -> Laid:
        self._layers.append(layer)
        return Laid(layer.output, layer.out_shape)

    def turned(self, x: Laid, order: tuple[int, ...]) -> Laid:
        """x with its axes, counted without the batch, in another order."""
        if order == tuple(range(len(order))):
            return x
        name, shape = self.name("turned"), tuple(x.shape[axis] for axis in order)
        perm = (0, *(axis + 1 for axis in order))
        return self.placed(
            Transpose(name=name, inputs=(x.name,), output=name, in_shapes=(x.shape,), out_shape=shape, perm=perm)
        )

    def shaped(self, x: Laid, shape: Shape) -> Laid:
        if shape == x.shape:
            return x
        name = self.name("shaped")
        return self.placed(Reshape(name=name, inputs=(x.name,), output=name, in_shapes=(x.shape,), out_shape=shape))

    def repeated(self, x: Laid, lengths: Mapping[int, int]) -> Laid:
        """x with axes of length one repeated."""
        if not lengths:
            return x
        shape = tuple(lengths.get(axis, length) for axis, length in enumerate(x.shape))
        picks = tuple(np.zeros(lengths[axis], np.int64) if axis in lengths else None for axis in range(len(shape)))
        name = self.name("repeated")
        return self.placed(
            Gather(name=name, inputs=(x.name,), output=name, in_shapes=(x.shape,), out_shape=shape, picks=picks)
        )

    def end(self, x: Laid, output: str) -> None:
        """Let the layers stand where the one stood that made `output`, which the last of them makes now."""
        (place,) = (i for i, layer in enumerate(self._wiring.layers) if layer.output == output)
        assert self._layers[-1].output == x.name
        last = replace(self._layers[-1], output=output)
        if len(self._layers) == 1:
            self._wiring.replace(last)
        else:
            self._wiring.layers[place : place + 1] = [*self._layers[:-1], last]
