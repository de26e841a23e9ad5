"""Attention: mixtures of a tensor along an axis, by weights that are frozen at their recorded values (method,
section 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.gate import copied, emit_copied
from mipin_ref.layers.groups import FrozenOperand, Outdone, Untrained
from mipin_ref.layers.kind import BackWriter, Flags, Shape, States, Writer


@dataclass(frozen=True, eq=False, kw_only=True)
class Attention(FrozenOperand, Outdone, Untrained):
    """inputs: content V [*around, keys, heads · features] and weights P [*around, heads, queries, keys]; of the axes
    around any may be one in either, so that it is broadcast. Output [*around, queries, heads · features]: of each head
    P V.

    The signal comes back to the content alone: Pᵀ S of each head, the mean over the copies where the content is
    broadcast, times one fitted weight a head and feature.
    """

    kind = "Attention"
    inverse = "own"
    inverse_name = "the weights of attention, a weight a feature"
    joint_name = "Attention"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = True
    carries = False
    hands_on = False
    axes = None
    no_way_back = None
    outdone_by = "lrp-epsilon"
    fires = False
    keeps_zero = False
    heads: int

    @property
    def channels(self) -> int:
        return len(self.out_shape)

    @property
    def _features(self) -> int:
        return self.out_shape[-1] // self.heads

    def leads(self, wanted: Flags, slot: int) -> Flags:
        """Every location reaches every other, whatever a mask of the weights says."""
        reached = np.broadcast_to(np.any(wanted, axis=-2, keepdims=True), self._whole)
        spread = tuple(
            i for i, (long, short) in enumerate(zip(self._whole, self.in_shape, strict=True)) if long != short
        )
        found: Flags = np.any(reached, axis=spread, keepdims=True)
        return found

    @property
    def _whole(self) -> Shape:
        """The shape of the content once it is broadcast."""
        return (*self.out_shape[:-2], *self.in_shape[-2:])

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def operations(self) -> float:
        return 2.0 * prod(self.out_shape) * self.in_shape[-2]

    @property
    def work(self) -> int:
        return self.touched + prod(self.out_shape) * self.in_shape[-2]

    def describe(self) -> str:
        queries, keys = self.in_shapes[1][-2:]
        return f"{self.heads} head{'s' if self.heads > 1 else ''}, {queries} × {keys}"

    def details(self) -> dict[str, Any]:
        return {"heads": self.heads}

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        content, weights = inputs
        return self._joined(backend, weights @ self._apart(backend, content))

    def back(self, backend: Backend, signal: Array, weights: Array) -> Array:
        """Pᵀ S of each head [n, *around, keys, heads · features], before it is averaged over copies."""
        return self._joined(backend, backend.xp.matrix_transpose(weights) @ self._apart(backend, signal))

    def products(self, backend: Backend, content: Array, signal: Array) -> Array:
        """S Vᵀ of each head, summed over what the weights are broadcast along: the gradient by the weights."""
        apart = backend.xp.matrix_transpose(self._apart(backend, content))
        return copied(backend, self._apart(backend, signal) @ apart, self.in_shapes[1], mean=False)

    def _apart(self, backend: Backend, x: Array) -> Array:
        """x [n, *around, places, heads · features] -> [n, *around, heads, places, features]."""
        parted = backend.xp.reshape(x, (*x.shape[:-1], self.heads, x.shape[-1] // self.heads))
        return backend.xp.permute_dims(parted, _turned(parted.ndim))

    def _joined(self, backend: Backend, x: Array) -> Array:
        """x [n, *around, heads, places, features] -> [n, *around, places, heads · features]."""
        turned = backend.xp.permute_dims(x, _turned(x.ndim))
        return backend.xp.reshape(turned, (*turned.shape[:-2], turned.shape[-2] * turned.shape[-1]))

    def emit(self, writer: Writer) -> None:
        content, weights = self.inputs
        rank = len(self.in_shape) + 2
        parted, apart = writer.inner("parted"), writer.inner("apart")
        mixed, turned = writer.inner("mixed"), writer.inner("turned")
        shape = (*self.in_shape[:-1], self.heads, self._features)
        writer.append("Reshape", [content, writer.whole("parts", -1, *shape)], parted)
        writer.append("Transpose", [parted], apart, perm=_turned(rank))
        writer.append("MatMul", [weights, apart], mixed)
        writer.append("Transpose", [mixed], turned, perm=_turned(rank))
        writer.append("Reshape", [turned, writer.whole("joined", -1, *self.out_shape)], self.output)

    def emit_state(self, writer: BackWriter, slot: int) -> str:
        rank = len(self.in_shapes[1]) + 1
        perm = (*range(rank - 2), rank - 1, rank - 2)
        return writer.append("Transpose", [writer.value(self.inputs[1])], "turned", perm=perm)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        rank = len(self.out_shape) + 2
        shape = (*self.out_shape[:-1], self.heads, self._features)
        parted = writer.append("Reshape", [signal, writer.whole("parts", -1, *shape)], "parted")
        apart = writer.append("Transpose", [parted], "apart", perm=_turned(rank))
        # Both signals of a sample are mixed by the same weights: [2n, ...] as [2, n, ...].
        both = writer.append("Reshape", [apart, writer.whole("both", 2, -1, *self._by_head(self.out_shape))], "both")
        mixed = writer.append("MatMul", [writer.state(), both], "mixed")
        rows = writer.append("Reshape", [mixed, writer.whole("rows", -1, *self._by_head(self._whole))], "rows")
        turned = writer.append("Transpose", [rows], "back turned", perm=_turned(rank))
        joined = writer.append("Reshape", [turned, writer.whole("joined", -1, *self._whole)], "joined")
        return emit_copied(writer, joined, self._whole, self.in_shape)

    def _by_head(self, shape: Shape) -> Shape:
        """A shape [*around, places, heads · features] as [*around, heads, places, features]."""
        return (*shape[:-2], self.heads, shape[-2], self._features)

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return copied(backend, self.back(backend, signal, states[self.output]), self.in_shape, mean=True)


def _turned(rank: int) -> tuple[int, ...]:
    """The permutation that swaps the third and the second axis from the end."""
    return (*range(rank - 3), rank - 2, rank - 3, rank - 1)
