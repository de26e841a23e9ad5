"""One step of a recurrent cell, as the operator has its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipin_ref.layers import HostArray


@dataclass(frozen=True, eq=False)
class Step:
    """x, before: the row [N, D] that it reads, and the states [N, H] before it, none where they are zeros that the file
    does not read as such; states: those that it makes, hidden first, then an LSTM's cell; weight [B · H, D], recurrence
    [B · H, H], bias [2 · B · H]: as the operator has them; inner: tensors of the step that nothing else reads;
    reset_behind: of a GRU, see the operator's linear_before_reset; function: of an RNN, its activation.
    """

    op: str
    x: str
    before: tuple[str, ...]
    states: tuple[str, ...]
    weight: HostArray
    recurrence: HostArray
    bias: HostArray
    inner: tuple[str, ...]
    reset_behind: bool = False
    function: str = ""

    def goes_on(self, other: Step) -> bool:
        """Whether it is the step behind another one."""
        return (
            self.op == other.op
            and self.before == other.states
            and self.reset_behind == other.reset_behind
            and self.function == other.function
            and all(
                np.array_equal(getattr(self, name), getattr(other, name)) for name in ("weight", "recurrence", "bias")
            )
        )
