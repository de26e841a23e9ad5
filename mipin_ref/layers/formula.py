"""An activation written out in several operators: one entry, and element-wise steps alone (method, section 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mipin_ref.backend import Array
from mipin_ref.display import OneLine
from mipin_ref.layers.functions import FUNCTIONS, Pair
from mipin_ref.layers.kind import HostArray, Mask, Writer

COMBINED = ("Affine", "Neg", "Add", "Sub", "Mul", "Div", "Max", "Min")
"""The steps that are no function of the table."""


@dataclass(frozen=True, eq=False)
class Step(OneLine):
    """One operator. operator: of FUNCTIONS or COMBINED; of: what it reads, 0 the entry, i the result of step i - 1.

    constants: Affine's scale and shift, PRelu's slope, of the rank of the per-sample shape.
    """

    operator: str
    of: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, HostArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Formula(OneLine):
    """Steps in execution order, the last of which makes the output. name: of the function that they are, "" of none.

    mask: see Layer.
    """

    steps: tuple[Step, ...]
    name: str = ""
    mask: Mask = "nonzero"

    @cached_property
    def keeps_zero(self) -> bool:
        """Whether f(0) = 0, whatever the location."""
        with np.errstate(all="ignore"):
            value, _ = self.pair(np, np.zeros(1))
        return bool(np.all(value == 0))

    def never_negative(self, inputs: bool) -> bool:
        """Whether no output can be negative, by the signs of each step. inputs: whether no input can be."""
        found = [inputs]
        for step in self.steps:
            found.append(_never_negative(step, [found[number] for number in step.of]))
        return found[-1]

    def pair(self, xp: Any, x: Array) -> Pair:
        """f(x) and f'(x) of x [n, *sample]; a derivative is carried along with each value."""
        found = [(x, xp.ones_like(x))]
        for step in self.steps:
            found.append(_applied(xp, step, [found[number] for number in step.of]))
        return found[-1]

    def describe(self) -> str:
        told = " ".join(step.operator for step in self.steps)
        return f"{self.name} ({told})" if self.name else told

    def emit(self, entry: str, output: str, writer: Writer) -> None:
        """Write the steps as ONNX, from tensor `entry` to tensor `output`."""
        names = [entry]
        for number, step in enumerate(self.steps):
            last = number == len(self.steps) - 1
            names.append(output if last else writer.inner(f"step{number}"))
            inside = _Inside(writer, f"step{number}", [names[one] for one in step.of], names[-1])
            _emit(step, inside)


def _applied(xp: Any, step: Step, given: Sequence[Pair]) -> Pair:
    x, slope = given[0]
    if step.operator in FUNCTIONS:
        constants = {name: _placed(xp, value, x) for name, value in step.constants.items()}
        value, derivative = FUNCTIONS[step.operator].pair(xp, x, {**step.options, **constants})
        return value, derivative * slope
    if step.operator == "Affine":
        scale, shift = (_placed(xp, step.constants[name], x) for name in ("scale", "shift"))
        return x * scale + shift, slope * scale
    if step.operator == "Neg":
        return -x, -slope
    for other, other_slope in given[1:]:
        x, slope = _joined(xp, step.operator, (x, slope), (other, other_slope))
    return x, slope


def _never_negative(step: Step, given: Sequence[bool]) -> bool:
    if step.operator in FUNCTIONS:
        return FUNCTIONS[step.operator].never_negative(step.options, given[0])
    if step.operator == "Affine":
        scale, shift = step.constants["scale"], step.constants["shift"]
        return bool(np.all(shift >= 0) and (not np.any(scale) or (given[0] and np.all(scale >= 0))))
    if step.operator == "Max":
        return any(given)
    if step.operator == "Mul" and len(set(step.of)) == 1:
        return True
    return step.operator in ("Add", "Mul", "Div", "Min") and all(given)


def _joined(xp: Any, operator: str, left: Pair, right: Pair) -> Pair:
    (a, da), (b, db) = left, right
    if operator == "Add":
        return a + b, da + db
    if operator == "Sub":
        return a - b, da - db
    if operator == "Mul":
        return a * b, da * b + a * db
    if operator == "Div":
        return a / b, (da - a / b * db) / b
    first = xp.astype(a >= b if operator == "Max" else a <= b, a.dtype)
    return xp.maximum(a, b) if operator == "Max" else xp.minimum(a, b), first * da + (1 - first) * db


def _placed(xp: Any, constant: HostArray, x: Array) -> Any:
    """A constant where x is; one number stays a number."""
    if constant.size == 1:
        return float(constant.reshape(-1)[0])
    return xp.asarray(np.array(constant), dtype=x.dtype, device=x.device)


@dataclass(frozen=True, eq=False)
class _Inside:
    """The writer of one step, as a layer of its own has it."""

    writer: Writer
    role: str
    inputs: Sequence[str]
    output: str
    function: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    slope: HostArray | None = None

    @property
    def input(self) -> str:
        return self.inputs[0]

    def weight(self, role: str, value: Any) -> str:
        return self.writer.weight(f"{self.role}.{role}", value)

    def whole(self, role: str, *values: int) -> str:
        return self.writer.whole(f"{self.role}.{role}", *values)

    def inner(self, role: str) -> str:
        return self.writer.inner(f"{self.role}.{role}")

    def append(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self.writer.append(operator, inputs, output, **attributes)

    def several(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        self.writer.several(operator, inputs, outputs, **attributes)

    def node(self, operator: str, *constants: str, **attributes: Any) -> None:
        self.append(operator, [*self.inputs, *constants], self.output, **attributes)


def _emit(step: Step, inside: _Inside) -> None:
    if step.operator in FUNCTIONS:
        spelt = _Inside(
            inside.writer,
            inside.role,
            inside.inputs,
            inside.output,
            step.operator,
            step.options,
            step.constants.get("slope"),
        )
        FUNCTIONS[step.operator].emit(spelt, spelt)
    elif step.operator == "Affine":
        scale, shift = (step.constants[name][None] for name in ("scale", "shift"))
        if not np.any(shift):
            inside.node("Mul", inside.weight("scale", scale))
        elif np.all(scale == 1):
            inside.node("Add", inside.weight("shift", shift))
        else:
            scaled = inside.inner("scaled")
            inside.append("Mul", [inside.input, inside.weight("scale", scale)], scaled)
            inside.append("Add", [scaled, inside.weight("shift", shift)], inside.output)
    else:
        inside.node("Sum" if step.operator == "Add" and len(inside.inputs) > 2 else step.operator)
