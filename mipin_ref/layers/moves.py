"""Layers that only move values: another shape or order, a part of them, or more around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import KeepsAxes, Untrained, Unweighted
from mipin_ref.layers.kind import BackWriter, Cut, Flags, Pick, States, Writer


class _Move(Unweighted, Untrained, group=True):
    inverse = "passes"
    inverse_name = "passes"
    intercept = False
    mixes = False
    carries = True
    channels = None
    no_way_back = None
    fires = False
    keeps_zero = True
    room = 0
    columns = 0

    @property
    def work(self) -> int:
        return self.touched


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(_Move):
    """The same values in the same order in another shape."""

    kind = "Reshape"
    joint_name = "Reshape"
    hands_on = False
    cut = None
    rearranges = True
    axes = None

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return wanted.reshape(self.in_shape)

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    def describe(self) -> str:
        return ""

    def details(self) -> dict[str, Any]:
        return {}

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        return backend.xp.reshape(inputs[0], (inputs[0].shape[0], *self.out_shape))

    def emit(self, writer: Writer) -> None:
        writer.node("Reshape", writer.whole("shape", -1, *self.out_shape))

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return writer.append("Reshape", [signal, writer.whole("in shape", -1, *self.in_shape)], "back")

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return backend.xp.reshape(signal, (signal.shape[0], *self.in_shape))


@dataclass(frozen=True, eq=False, kw_only=True)
class Transpose(_Move):
    """The axes in another order. perm: the batched permutation, perm[0] == 0."""

    kind = "Transpose"
    joint_name = "Transpose"
    hands_on = True
    cut = None
    rearranges = True
    perm: tuple[int, ...]

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return wanted.transpose([int(place) for place in np.argsort(self.perm[1:])])

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def axes(self) -> tuple[int, ...]:
        return self.perm

    def describe(self) -> str:
        return f"perm {self.perm}"

    def details(self) -> dict[str, Any]:
        return {"perm": self.perm}

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        return backend.xp.permute_dims(inputs[0], self.perm)

    def emit(self, writer: Writer) -> None:
        writer.node("Transpose", perm=self.perm)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return writer.append("Transpose", [signal], "back", perm=tuple(int(i) for i in np.argsort(self.perm)))

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return backend.xp.permute_dims(signal, tuple(int(i) for i in np.argsort(self.perm)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice(_Move, KeepsAxes):
    """The box [begin, end) of the sample, one entry per axis of the per-sample shape; also one output of a Split.

    crops: whether it is what a negative Pad keeps; then what it leaves out counts as read.
    """

    kind = "Slice"
    joint_name = "Slice"
    hands_on = False
    rearranges = False
    begin: tuple[int, ...]
    end: tuple[int, ...]
    crops: bool = False

    def leads(self, wanted: Flags, slot: int) -> Flags:
        whole = np.full(self.in_shape, self.crops and bool(np.any(wanted)), np.bool_)
        whole[self.box[1:]] = wanted
        return whole

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def cut(self) -> Cut:
        return tuple(range(b, e) for b, e in zip(self.begin, self.end, strict=True))

    @property
    def picks(self) -> tuple[Pick, ...]:
        """What is taken of each axis, as of a Gather."""
        boxes = zip(self.begin, self.end, self.in_shape, strict=True)
        return tuple(None if (b, e) == (0, n) else np.arange(b, e, dtype=np.int64) for b, e, n in boxes)

    def describe(self) -> str:
        cut = zip(self.begin, self.end, self.in_shape, strict=True)
        return ", ".join(f"{b}:{e}" if (b, e) != (0, n) else ":" for b, e, n in cut)

    def details(self) -> dict[str, Any]:
        return {"begin": self.begin, "end": self.end} | ({"crops": True} if self.crops else {})

    @property
    def box(self) -> tuple[slice, ...]:
        """The part of the batched input that is kept."""
        return (slice(None), *(slice(b, e) for b, e in zip(self.begin, self.end, strict=True)))

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        return inputs[0][self.box]

    def emit(self, writer: Writer) -> None:
        axes = writer.whole("axes", *range(1, len(self.begin) + 1))
        writer.node("Slice", writer.whole("begin", *self.begin), writer.whole("end", *self.end), axes)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        behind = [n - e for n, e in zip(self.in_shape, self.end, strict=True)]
        return writer.append("Pad", [signal, writer.whole("around", 0, *self.begin, 0, *behind)], "back")

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        whole = backend.zeros((signal.shape[0], *self.in_shape), signal.dtype)
        whole[self.box] = signal
        return whole


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(_Move, KeepsAxes):
    """A constant around the sample; begin and end have one entry per axis of the per-sample shape."""

    kind = "Pad"
    joint_name = "Pad"
    hands_on = False
    cut = None
    rearranges = False
    begin: tuple[int, ...]
    end: tuple[int, ...]
    value: float = 0.0

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return wanted[self._inside[1:]]

    def never_negative(self, inputs: bool) -> bool:
        return inputs and not self.value < 0

    def describe(self) -> str:
        around = ", ".join(f"{b}+{e}" for b, e in zip(self.begin, self.end, strict=True))
        return around + (f" of {self.value:g}" if self.value else "")

    def details(self) -> dict[str, Any]:
        return {"begin": self.begin, "end": self.end, "value": self.value}

    @property
    def _inside(self) -> tuple[slice, ...]:
        return (slice(None), *(slice(b, b + n) for b, n in zip(self.begin, self.in_shape, strict=True)))

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        (x,) = inputs
        whole = backend.xp.full((x.shape[0], *self.out_shape), self.value, dtype=x.dtype, device=backend.device)
        whole[self._inside] = x
        return whole

    def emit(self, writer: Writer) -> None:
        pads = writer.whole("pads", 0, *self.begin, 0, *self.end)
        writer.node("Pad", pads, writer.weight("value", self.value))

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        ends = [b + n for b, n in zip(self.begin, self.in_shape, strict=True)]
        axes = writer.whole("axes", *range(1, len(ends) + 1))
        return writer.append(
            "Slice", [signal, writer.whole("begin", *self.begin), writer.whole("end", *ends), axes], "back"
        )

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return signal[self._inside]
