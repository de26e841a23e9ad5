"""Stage "propagate": S and A at each tensor, given the golden weights."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np

from mipin_ref.backend import get_backend
from mipin_ref.golden.material import Material
from mipin_ref.golden.regression import Inverted, Regression
from mipin_ref.golden.rounding import Rounding
from mipin_ref.golden.stages.signatures import reordered, scaled
from mipin_ref.golden.stages.solve import flipped, slipped
from mipin_ref.golden.stages.stage import Deviation, Evidence, Explained, Pairs, Stage, sample_axes
from mipin_ref.golden.values import Golden, Named
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.layers import HostArray


class Propagate(Stage):
    """Signals from the logits down, after the mask of each tensor."""

    name = "propagate"
    given = "golden weights, switches and masks, and y_c from the golden logits"
    meanings: ClassVar = {"S": "source signal", "A": "attribution"}
    exact = frozenset()
    optional = frozenset()

    def compared(self, golden: Golden) -> Pairs:
        plan = golden.material.plan
        for tensor in (plan.logits, *(step.tensor for step in plan.steps)):
            yield from _signals(tensor, golden.s, golden.a)

    def tensor(self, name: str, material: Material) -> str:
        return name.split("/", 2)[2]

    def axes(self, name: str, material: Material, rank: int) -> list[str]:
        return sample_axes(material, self.tensor(name, material), rank)

    def perturbed(self, golden: Golden, rounding: Rounding) -> Pairs:
        """Rounds y_c and all weights."""
        plan = golden.material.plan
        seed = rounding(golden.s[plan.logits])
        s, a = {plan.logits: seed}, {plan.logits: seed}
        yield from _signals(plan.logits, s, a)
        for step in plan.steps:
            weights = golden.inverted.get(step.tensor)
            golden.material.descend(step, None if weights is None else _rounded(weights, rounding), s, a)
            yield from _signals(step.tensor, s, a)

    def remade(self, golden: Golden, fresh: Material, inverse: Inverse) -> Pairs:
        """Goes on below weights that the case leaves out from the golden signals there."""
        plan = golden.material.plan
        s = {plan.logits: golden.material.placed_seed()}
        a = dict(s)
        yield from _signals(plan.logits, s, a)
        for step in plan.steps:
            weights = (f"solve/weight/{step.tensor}/{i}" for i in range(len(step.branches)))
            if step.fitted and not all(name in golden.named for name in weights):
                s[step.tensor], a[step.tensor] = golden.s[step.tensor], golden.a[step.tensor]
            else:
                golden.material.descend(step, golden.inverted.get(step.tensor), s, a)
            yield from _signals(step.tensor, s, a)

    def causes(self, deviation: Deviation, evidence: Evidence) -> Explained:
        yield from reordered(deviation.golden, deviation.value)
        if evidence.network is not None:
            yield from signal_causes(deviation, evidence.golden)
        yield from scaled(deviation.golden, deviation.value)


def _signals(tensor: str, s: Named, a: Named) -> Pairs:
    """What the stage compares of one tensor."""
    yield f"propagate/S/{tensor}", s[tensor]
    yield f"propagate/A/{tensor}", a[tensor]


def _rounded(weights: Inverted, rounding: Rounding) -> Inverted:
    intercept = None if weights.intercept is None else rounding(weights.intercept)
    return replace(weights, blocks=tuple(rounding(block) for block in weights.blocks), intercept=intercept)


def signal_causes(deviation: Deviation, golden: Golden) -> Explained:
    """The mistakes of S or A at a tensor, in this stage and at the end."""
    yield from _mask_causes(deviation, golden)
    yield from _step_causes(deviation, golden)


def _mask_causes(deviation: Deviation, golden: Golden) -> Explained:
    """A mask that was forgotten leaves the other entries alone, and so does one too many."""
    x = golden.material.values.get(deviation.tensor)
    if x is None:
        return
    value, right, off = deviation.value, deviation.golden, x == 0
    if np.any(value[off] != 0) and not np.any(right[off]):
        yield "the mask is forgotten", lambda: np.where(off, value, right)
    yield "a mask is applied where the method has none", lambda: np.where(off, 0.0, right)
    yield "the mask asks for X > 0 instead of X ≠ 0", lambda: np.where(x > 0, right, 0.0)


def _step_causes(deviation: Deviation, golden: Golden) -> Explained:
    """One step down from the golden signals above, with one mistake."""
    material, tensor, source = golden.material, deviation.tensor, deviation.what == "S"
    if tensor not in material.plan.step_of:
        yield "the logit is not alone: other classes are not zero", lambda: material.values[tensor]
        yield "the signal starts from 1 instead of y_c", lambda: (golden.s[tensor] != 0) * 1.0
        return
    step, above = material.plan.step_of[tensor], golden.s if source else golden.a
    inverted = golden.inverted.get(step.tensor)
    fired = step.fired(material.values[step.tensor]) if step.mask else np.array(1.0)
    mask = fired if step.alive is None else fired * step.alive
    if step.alive is not None:
        yield (
            "signals come back to locations that lead to no target",
            partial(_descended, material, material.regression(step), inverted, above, fired, source),
        )
    if inverted is not None and step.intercept:
        yield (
            "the intercept is left out" if source else "the intercept is not left out of A",
            lambda: material.predict(step, above, inverted, affine=not source) * mask,
        )
    if inverted is not None and any(block.ndim > 2 for block in inverted.blocks):
        yield (
            "the kernel is flipped in space",
            lambda: material.predict(step, above, flipped(inverted), affine=source) * mask,
        )
    for cause, regression in slipped(material, step):
        yield cause, partial(_descended, material, regression, inverted, above, mask, source)
    x = material.values[tensor]
    if source:
        yield "S is the attribution", lambda: golden.a[tensor]
        yield "S is the distractor X - S", lambda: x - golden.s[tensor]
    else:
        yield "A is the source signal", lambda: golden.s[tensor]
        yield "A is the contribution A·X", lambda: golden.a[tensor] * x


def _descended(
    material: Material, regression: Regression, inverted: Inverted | None, above: Named, mask: HostArray, source: bool
) -> HostArray:
    """The signal of a step by a regression with a mistake."""
    step, signals = regression.step, material.read(regression.step, above)
    if inverted is None:
        return np.asarray(regression.pull(get_backend(), step.branches[0], signals, material.taps) * mask)
    return regression.predict(signals, material.taps, inverted, affine=source) * mask
