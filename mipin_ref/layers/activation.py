"""Element-wise activations: one operator, or written out in several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.formula import Formula
from mipin_ref.layers.functions import FUNCTIONS, Function, Pair
from mipin_ref.layers.groups import ElementWise, Unweighted
from mipin_ref.layers.kind import ELEMENT, BackWriter, HostArray, Mask, States, Writer

__all__ = ["FUNCTIONS", "Activation"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Activation(Unweighted, ElementWise):
    """Element-wise function; `function` is the ONNX operator, `options` its attributes, `slope` PRelu's input.

    formula: where it is written out in several operators, as which it has no options; `function` is then "Formula".
    """

    kind = "Activation"
    inverse = "passes"
    inverse_name = "passes"
    joint_name = "Activation"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = False
    carries = True
    channels = None
    no_way_back = None
    fires = True
    function: str
    options: Mapping[str, float | int | str] = field(default_factory=dict)
    slope: HostArray | None = None
    formula: Formula | None = None

    @property
    def _asked(self) -> Function:
        return FUNCTIONS[self.function] if self.formula is None else _written_out(self.formula)

    @property
    def named(self) -> str:
        """The function that it is, however it is written; of an unknown one an empty string."""
        return self.function if self.formula is None else self.formula.name

    @property
    def mask(self) -> Mask:  # type: ignore[override]
        return self._asked.mask

    @property
    def keeps_zero(self) -> bool:
        return self._asked.keeps_zero(self.options)

    def never_negative(self, inputs: bool) -> bool:
        return self._asked.never_negative(self.options, inputs)

    @property
    def arrays(self) -> dict[str, HostArray]:
        return {} if self.slope is None else {"slope": self.slope}

    @property
    def operations(self) -> float:
        return float(prod(self.out_shape) * (1 if self.formula is None else len(self.formula.steps)))

    @property
    def work(self) -> int:
        steps = 1 if self.formula is None else len(self.formula.steps)
        return self.touched + steps * ELEMENT * prod(self.out_shape)

    def describe(self) -> str:
        if self.formula is not None:
            return self.formula.describe()
        given = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.options.items())
        return f"{self.function}({given})" if given else self.function

    def details(self) -> dict[str, Any]:
        told: dict[str, Any] = {"function": self.function, "options": dict(self.options)}
        if self.formula is not None:
            told["steps"] = tuple(
                {
                    "operator": step.operator,
                    "of": list(step.of),
                    "options": dict(step.options),
                    "constants": {name: value.tolist() for name, value in step.constants.items()},
                }
                for step in self.formula.steps
            )
        return told

    @property
    def rectifies(self) -> bool:
        """Whether it is a Relu, perhaps one with an upper bound."""
        return self.passes_between is not None and self.passes_between[0] == 0

    @property
    def passes_between(self) -> tuple[float, float] | None:
        """Bounds of the outputs at which the derivative is 1, being 0 at all others; see `Function`."""
        return self._asked.passes_between(self.options)

    @property
    def constant(self) -> HostArray:
        """PRelu's slope. Raises TypeError for a function without."""
        if self.slope is None:
            raise TypeError(f"layer {self.name!r} ({self.function}) has no constant")
        return self.slope

    def pair(self, xp: Any, x: Array, slope: Array | None = None) -> Pair:
        """f(x) and f'(x). slope: PRelu's, in the namespace."""
        return self._asked.pair(xp, x, self.options if slope is None else {**self.options, "slope": slope})

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        slope = None if self.slope is None else backend.put(self.slope)
        return self.pair(backend.xp, inputs[0], slope)[0]

    def emit(self, writer: Writer) -> None:
        self._asked.emit(self, writer)

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return signal

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return signal


def _written_out(formula: Formula) -> Function:
    """All that is asked of a formula, as of an operator of the table."""
    return Function(
        lambda xp, x, o: formula.pair(xp, x),
        lambda o: formula.keeps_zero,
        lambda o, inputs: formula.never_negative(inputs),
        lambda o: None,
        lambda layer, writer: formula.emit(layer.input, layer.output, writer),
        formula.mask,
    )
