"""Faults of locations that lead to no target, and of normalisations that restore signals (option `norm`)."""

from __future__ import annotations

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals, Step
from tests.golden.independent.forward import Layer
from tests.golden.mutants.mutant import Mutant


class DeadRows(Independent):
    """Every location is a row of the fit."""

    def living_rows(self, step: Step, values: Tensor) -> Tensor:
        return values.flatten(0, -2)


class DeadSignals(Independent):
    """What the intercept is worth stays at locations that lead nowhere."""

    def living(self, step: Step, signal: Tensor) -> Tensor:
        return signal


class CountedFromTheEnd(Independent):
    """As many rows at the other end."""

    def living_rows(self, step: Step, values: Tensor) -> Tensor:
        last = values[0, ..., 0].numel() - 1
        turned = {**step, "alive": [last - place for place in step["alive"]]} if "alive" in step else step
        return super().living_rows(turned, values)


class DivisorForgotten(Independent):
    """The signal of a Norm unchanged, as without the option."""

    def divisors(self, values: dict[str, Tensor]) -> Signals:
        return {}


class DividedBack(Independent):
    """The signal divided by what the layer divided by, as a gradient is."""

    def pull(self, layer: Layer, slot: int, s: Tensor, switches: Signals) -> Tensor:
        inverse = {name: 1 / state for name, state in switches.items()} if layer["kind"] == "Norm" else switches
        return super().pull(layer, slot, s, inverse)


DEAD = {
    "dead locations as rows of a fit": Mutant(
        DeadRows,
        "golden_sigma",
        "solve",
        "solve/weight/dense2/0",
        cause="locations that lead to no target are rows of the fit",
    ),
    "signals at dead locations": Mutant(
        DeadSignals,
        "golden_sigma",
        "propagate",
        "propagate/S/dense2",
        cause="signals come back to locations that lead to no target",
    ),
    "living locations counted from the end": Mutant(
        CountedFromTheEnd, "golden_sigma", "solve", "solve/weight/dense2/0"
    ),
    "divisor of a norm forgotten": Mutant(
        DivisorForgotten,
        "golden_sigma",
        "solve",
        "solve/weight/dense2/0",
        cause="the signal is not multiplied by the divisor",
    ),
    "divided by a norm's divisor": Mutant(
        DividedBack,
        "golden_sigma",
        "solve",
        "solve/weight/dense2/0",
        cause="the signal is divided by the divisor",
    ),
}
