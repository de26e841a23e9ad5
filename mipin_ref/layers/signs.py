"""What turns signs: the negative of a tensor, and the difference of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.gate import copied, emit_copied
from mipin_ref.layers.groups import KeepsAxes, Untrained, Unweighted
from mipin_ref.layers.kind import BackWriter, Flags, States, Writer
from mipin_ref.layers.leads import of_copies


class _Signed(Unweighted, KeepsAxes, Untrained, group=True):
    """A layer without weights that turns the sign of some of its inputs."""

    inverse = "passes"
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

    def never_negative(self, inputs: bool) -> bool:
        return False

    @property
    def work(self) -> int:
        return self.touched

    def describe(self) -> str:
        return ""

    def details(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class Negative(_Signed):
    """x -> -x: the signal comes back with its sign turned."""

    kind = "Negative"
    inverse_name = "turns the sign"
    joint_name = "Negative"
    keeps_zero = True

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return wanted

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        return -inputs[0]

    def emit(self, writer: Writer) -> None:
        writer.node("Neg")

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return writer.append("Neg", [signal], "back")

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return -signal


@dataclass(frozen=True, eq=False, kw_only=True)
class Difference(_Signed):
    """a - b, which broadcast: S to a and -S to b, the mean over the copies of what is broadcast."""

    kind = "Difference"
    inverse_name = "passes, to what is subtracted with its sign turned"
    joint_name = "Difference"
    keeps_zero = False

    def leads(self, wanted: Flags, slot: int) -> Flags:
        return of_copies(wanted, self.in_shapes[slot])

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        return inputs[0] - inputs[1]

    def emit(self, writer: Writer) -> None:
        writer.node("Sub")

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        turned = writer.append("Neg", [signal], "turned") if slot else signal
        return emit_copied(writer, turned, self.out_shape, self.in_shapes[slot])

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return copied(backend, self.turned(signal, slot), self.in_shapes[slot], mean=True)

    @staticmethod
    def turned(signal: Array, slot: int) -> Array:
        """The signal with the sign that input `slot` has in the difference."""
        return -signal if slot else signal
