"""Which known function an activation written out is, told by its values: exporters spell each in many ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.layers.formula import Formula
from mipin_ref.layers.functions import FUNCTIONS

Values = npt.NDArray[np.float64]

AGREEMENT = 4e-6
"""Share of the largest value: files hold the constants of these functions in single precision, and what is lost of up
to a dozen of them adds up to less (eps is 1.2e-7)."""

POINTS: Values = np.concatenate([np.linspace(-8.0, 8.0, 65), [-0.37, 0.61, -1.0, 1.0, -11.0, 11.0]])
"""Where functions are compared; the last are apart from the rest on purpose, -1 and 1 among them."""

LARGEST = 1 << 14
"""Entries of the constants of a formula that is looked at: one a channel, never one a location of a large map."""


def _named(function: str, **options: Any) -> Callable[[Values], Values]:
    def value(x: Values) -> Values:
        found: Values = FUNCTIONS[function].pair(np, x, options)[0]
        return found

    return value


GATED: tuple[tuple[str, Callable[[Values], Values]], ...] = (
    ("GELU", _named("Gelu")),
    ("GELU", _named("Gelu", approximate="tanh")),
    ("HardSwish", _named("HardSwish")),
    ("Mish", _named("Mish")),
)
"""The functions that hardly pass anything where they are negative: name and value."""


def recognised(formula: Formula) -> Formula:
    """The formula with its name and mask: SiLU, x·sigmoid(βx) of any β > 0, GELU, HardSwish, Mish, times a factor > 0.

    Constants may differ from channel to channel. A plain Sigmoid is named too, as it tells a gate.
    """
    entries = [value.size for step in formula.steps for value in step.constants.values()]
    if max(entries, default=1) > LARGEST:
        return formula
    rank = max([value.ndim for step in formula.steps for value in step.constants.values()], default=0)
    with np.errstate(all="ignore"):
        values, _ = formula.pair(np, POINTS.reshape(-1, *(1,) * rank))
    found = np.moveaxis(np.broadcast_to(values, (len(POINTS), *values.shape[1:])), 0, -1).reshape(-1, len(POINTS))
    if not np.all(np.isfinite(found)):
        return formula
    for name, value in GATED:
        if _scaled(found, value(POINTS)):
            return replace(formula, name=name, mask="positive")
    if _silu(found):
        return replace(formula, name="SiLU", mask="positive")
    return replace(formula, name="Sigmoid") if _sigmoid(found) else formula


def _scaled(found: Values, wanted: Values) -> bool:
    """Whether every row [points] is the wanted one times a positive factor."""
    factor = found @ wanted / (wanted @ wanted)
    return bool(np.all(factor > 0)) and _agree(found, factor[:, None] * wanted)


def _silu(found: Values) -> bool:
    below, above = found[:, -4], found[:, -3]
    factor = above - below
    share = np.divide(above, factor, out=np.zeros_like(factor), where=factor != 0)
    if not np.all((factor > 0) & (share > 0.5) & (share < 1)):
        return False
    beta = np.log(share / (1 - share))
    gate = FUNCTIONS["Sigmoid"].pair(np, beta[:, None] * POINTS, {})[0]
    # Of a steep one the share is all but one, and β has few digits.
    return _agree(found, factor[:, None] * POINTS * gate, loose=True)


def _sigmoid(found: Values) -> bool:
    below, above = found[:, -4], found[:, -3]
    total = above + below
    share = np.divide(above, total, out=np.zeros_like(total), where=total != 0)
    if not np.all((total > 0) & (share > 0) & (share < 1) & (share != 0.5)):
        return False
    beta = np.log(share / (1 - share))
    gate = FUNCTIONS["Sigmoid"].pair(np, beta[:, None] * POINTS, {})[0]
    return _agree(found, total[:, None] * gate, loose=True)


def _agree(found: Values, wanted: Values, *, loose: bool = False) -> bool:
    allowed = AGREEMENT * (100 if loose else 1) * np.max(np.abs(wanted), axis=1, keepdims=True)
    return bool(np.all(np.abs(found - wanted) <= allowed))
