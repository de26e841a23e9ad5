"""The functions of a recurrent layer: of its gates, its candidate, and of the cell where that leaves an LSTM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mipin_ref.backend import Array
from mipin_ref.layers.functions import FUNCTIONS, Pair

NUMBERS = {"HardSigmoid": {"alpha": 0.2, "beta": 0.5}, "LeakyRelu": {"alpha": 0.01}, "Elu": {"alpha": 1.0}}
"""Functions with numbers of their own, which an operator lists one behind the other, and what it takes for them where
it is told none.
"""


class Squash(NamedTuple):
    """name: of the element-wise ONNX operator; options: its numbers by name."""

    name: str
    options: tuple[tuple[str, float], ...] = ()

    def pair(self, xp: Any, x: Array) -> Pair:
        """f(x) and f'(x)."""
        return FUNCTIONS[self.name].pair(xp, x, dict(self.options))

    def of(self, xp: Any, x: Array) -> Array:
        """f(x)."""
        return self.pair(xp, x)[0]


SIGMOID, TANH = Squash("Sigmoid"), Squash("Tanh")


def told(functions: Sequence[Squash]) -> list[dict[str, Any]]:
    """As a golden case has them."""
    return [{"function": one.name, "options": dict(one.options)} for one in functions]


def attributes_of(functions: Sequence[Squash], directions: int) -> dict[str, Any]:
    """What an operator is told of the functions, which all directions share."""
    numbers: dict[str, list[float]] = {"alpha": [], "beta": []}
    for one in functions:
        for name in NUMBERS.get(one.name, ()):
            numbers[name].append(dict(one.options)[name])
    told = {"activations": [one.name for one in functions] * directions}
    return told | {f"activation_{name}": values * directions for name, values in numbers.items() if values}
