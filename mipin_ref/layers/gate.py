"""A gate: the content times, or divided by, a tensor that is frozen at its recorded value (method, section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import FrozenOperand, KeepsAxes, Untrained
from mipin_ref.layers.kind import BackWriter, Flags, Shape, States, Writer
from mipin_ref.layers.leads import of_copies


@dataclass(frozen=True, eq=False, kw_only=True)
class Gate(FrozenOperand, KeepsAxes, Untrained):
    """inputs: content a and gate g, which broadcast; function: "Mul" for a·g, "Div" for a / g.

    The signal comes back to a alone: S·g or S / g, the mean over the copies where a is broadcast, times one fitted
    weight a channel.
    """

    kind = "Gate"
    inverse = "own"
    inverse_name = "the gate's value, a weight a channel"
    joint_name = "Gate"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = False
    carries = False
    channels = None
    hands_on = True
    no_way_back = None
    fires = False
    keeps_zero = True
    function: Literal["Mul", "Div"]

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return of_copies(wanted, self.in_shapes[slot])

    def never_negative(self, inputs: bool) -> bool:
        return inputs

    @property
    def work(self) -> int:
        return self.touched

    def describe(self) -> str:
        return {"Mul": "content × gate", "Div": "content / gate"}[self.function]

    def details(self) -> dict[str, Any]:
        return {"function": self.function}

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        content, gate = inputs
        return content * gate if self.function == "Mul" else content / gate

    def emit(self, writer: Writer) -> None:
        writer.node(self.function)

    def emit_state(self, writer: BackWriter, slot: int) -> str:
        gate = writer.value(self.inputs[1])
        return gate if self.function == "Mul" else writer.append("Reciprocal", [gate], "reciprocal")

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        through = writer.times(signal, writer.state(), self.out_shape)
        return emit_copied(writer, through, self.out_shape, self.in_shapes[0])

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return copied(backend, self.through(signal, states[self.output]), self.in_shapes[0], mean=True)

    def through(self, signal: Array, gate: Array) -> Array:
        """The signal [n, *out_shape] times, or divided by, the gate [n, *in_shapes[1]]."""
        return signal * gate if self.function == "Mul" else signal / gate


def copied(backend: Backend, signal: Array, shape: Shape, *, mean: bool) -> Array:
    """The mean or the sum [n, *shape] of the signals [n, ...] at the copies of a tensor that was broadcast."""
    axes = tuple(
        axis for axis, (long, short) in enumerate(zip(signal.shape[1:], shape, strict=True), 1) if long != short
    )
    if not axes:
        return signal
    total = backend.xp.mean if mean else backend.xp.sum
    return total(signal, axis=axes, keepdims=True)


def emit_copied(writer: BackWriter, signal: str, whole: Shape, shape: Shape) -> str:
    """Write `copied` as ONNX with the mean: signals [2n, *whole] -> [2n, *shape]."""
    axes = [axis for axis, (long, short) in enumerate(zip(whole, shape, strict=True), 1) if long != short]
    return writer.append("ReduceMean", [signal, writer.whole("copies", *axes)], "mean", keepdims=1) if axes else signal
