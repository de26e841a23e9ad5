"""Stage "solve": the weights of each inverse, given the golden signals above it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np

from mipin_ref.backend import get_backend
from mipin_ref.golden.material import Material
from mipin_ref.golden.regression import Inverted, Mistake, Regression
from mipin_ref.golden.rounding import Rounding
from mipin_ref.golden.stages.pull_slips import pull_slips
from mipin_ref.golden.stages.signatures import reordered, scaled
from mipin_ref.golden.stages.stage import (
    Deviation,
    Evidence,
    Explained,
    Pairs,
    Stage,
    channel_axis,
    sample_axes,
    what,
)
from mipin_ref.golden.values import Golden, Named
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.options import DEFAULTS
from mipin_ref.inverse.passes.problem import Problem
from mipin_ref.inverse.plan import Step
from mipin_ref.layers import HostArray, Shared

DEFAULT_RIDGE = float(DEFAULTS["ridge"])


class Solve(Stage):
    """Blocks of weights, intercepts, and what they reconstruct, which counts where the weights are not determined."""

    name = "solve"
    given = "golden values, switches, rows, and the golden S (for linear: A) of the tensors above"
    meanings: ClassVar = {
        "weight": "weights of one branch of the inverse",
        "intercept": "intercept of the inverse",
        "prediction": "reconstruction from the golden S above, before any mask",
        "linear": "the same from the golden A above, without intercept",
    }
    exact = frozenset()
    optional = frozenset({"weight"})

    def compared(self, golden: Golden) -> Pairs:
        for step in golden.material.plan.fitted:
            yield from _solved(golden.material, step, golden.inverted[step.tensor], golden.s, golden.a)

    def tensor(self, name: str, material: Material) -> str:
        return _tensor_and_block(name)[0]

    def axes(self, name: str, material: Material, rank: int) -> list[str]:
        tensor, block = _tensor_and_block(name)
        if what(name) == "intercept":
            return [channel_axis(material, tensor)]
        if block is None:
            return sample_axes(material, tensor, rank)
        layer = material.plan.step_of[tensor].branches[block].layer
        return list(layer.block_axes) if isinstance(layer, Shared) else [channel_axis(material, tensor)]

    def perturbed(self, golden: Golden, rounding: Rounding) -> Pairs:
        """Rounds the signals above each tensor, its value, the rows of regressors, and its sums."""
        material = golden.material
        for step in material.plan.fitted:
            x = material.values[step.tensor].astype(np.float64)
            noisy = replace(material, values={**material.values, step.tensor: rounding(x)})
            above = {name: rounding(golden.s[name]) for name in step.reads}
            ridge = golden.ridges[step.tensor]
            inverted = noisy.invert(step, above, golden.rows, ridge, rounding, rounding.rows)
            yield from _solved(material, step, inverted, golden.s, golden.a)

    def remade(self, golden: Golden, fresh: Material, inverse: Inverse) -> Pairs:
        for step in golden.material.plan.fitted:
            yield from _solved(golden.material, step, _fitted(golden, step), golden.s, golden.a)

    def causes(self, deviation: Deviation, evidence: Evidence) -> Explained:
        golden, value = deviation.golden, deviation.value
        if deviation.what == "weight" and value.ndim > 2:
            axes = tuple(range(2, value.ndim))
            yield "the kernel is flipped in space", lambda: np.flip(golden, axes)
            yield "the kernel's axes in space are swapped", lambda: golden.swapaxes(-1, -2)
        yield from reordered(golden, value)
        if evidence.network is not None:
            yield from _fit_causes(deviation, evidence.golden)
            yield from _prediction_causes(deviation, evidence.golden)
        yield from scaled(golden, value)


def flipped(inverted: Inverted) -> Inverted:
    """The weights with every kernel flipped in space."""
    blocks = tuple(np.flip(b, tuple(range(2, b.ndim))) if b.ndim > 2 else b for b in inverted.blocks)
    return replace(inverted, blocks=blocks)


def _tensor_and_block(name: str) -> tuple[str, int | None]:
    """The tensor of a name, and which of its blocks a weight is."""
    tensor = name.split("/", 2)[2]
    if what(name) != "weight":
        return tensor, None
    tensor, _, number = tensor.rpartition("/")
    return tensor, int(number)


def slipped(material: Material, step: Step) -> Iterator[tuple[str, Regression]]:
    """The problem of a step with one mistake in how signals come back to it."""
    regression = material.regression(step)
    if step.axis != 1:
        yield f"the channels lie on axis {step.axis}, not on axis 1", replace(regression, step=replace(step, axis=1))
    if step.channel_of is not None:
        turned = np.arange(len(step.channel_of)) % step.channels
        other = turned if np.any(turned != step.channel_of) else np.sort(turned)
        yield (
            "elements are of channels in another order of axes",
            replace(regression, step=replace(step, channel_of=other)),
        )
    if step.rows is not None:
        yield (
            "locations that lead to no target are rows of the fit",
            replace(regression, step=replace(step, alive=None)),
        )
    for cause, pull in pull_slips(step, material):
        yield cause, replace(regression, pull=pull)


def _solved(
    material: Material, step: Step, inverted: Inverted, s: Named, a: Named, regression: Regression | None = None
) -> Pairs:
    """What the stage compares of one step. regression: another than the step's."""
    tensor, regression = step.tensor, regression or material.regression(step)
    for number, block in enumerate(inverted.blocks):
        yield f"solve/weight/{tensor}/{number}", block
    if inverted.intercept is not None:
        yield f"solve/intercept/{tensor}", inverted.intercept
    for name, signals, affine in (("prediction", s, True), ("linear", a, False)):
        predicted = regression.predict(material.read(step, signals), material.taps, inverted, affine=affine)
        yield f"solve/{name}/{tensor}", predicted


def _fitted(golden: Golden, step: Step) -> Inverted:
    """The weights by the engine's own sums and solver."""
    material, rows = golden.material, golden.rows
    sums = Problem(get_backend(), step, material.plan.is_column(step), int(rows.sum())).sums()
    above = {name: signal[rows] for name, signal in material.read(step, golden.s).items()}
    taps = {name: chosen[rows] for name, chosen in material.taps.items()}
    sums.update(above, taps, material.values[step.tensor][rows].astype(np.float64))
    weights, _ = sums.solve(golden.ridges[step.tensor])
    return Inverted(weights.blocks, weights.intercept, 1.0, 0)


def _fit_causes(deviation: Deviation, golden: Golden) -> Explained:
    """The fit written out, with one mistake."""
    step = golden.material.plan.step_of[deviation.tensor]
    stated = golden.ridges[step.tensor]

    def by(
        mistake: Mistake,
        *,
        ridge: float = stated,
        rows: HostArray = golden.rows,
        regression: Regression | None = None,
    ) -> Callable[[], HostArray]:
        def fitted() -> HostArray:
            problem = regression or golden.material.regression(step)
            inverted = problem.solve(
                golden.material.read(step, golden.s),
                golden.material.taps,
                golden.material.values[step.tensor],
                rows,
                ridge,
                mistake=mistake,
            )
            return dict(_solved(golden.material, step, inverted, golden.s, golden.a, problem))[deviation.name]

        return fitted

    samples = int(golden.rows.sum())
    locations = int(np.prod(step.shape)) // step.channels
    if step.intercept:
        yield "not centred: the sums are taken without subtracting means", by("not centred")
        yield "the intercept is missing", by("no intercept")
        yield "the intercept is penalised", by("penalised intercept")
    else:
        yield "there is an intercept, where this fit has none", by("intercept")
    yield "λ on means over all rows instead of sums", by("none", ridge=stated * samples * locations)
    yield "λ on means over samples instead of sums", by("none", ridge=stated * samples)
    yield "λ = 0", by("none", ridge=0.0)
    yield f"λ is the default {DEFAULT_RIDGE:g}, not the case's", by("none", ridge=DEFAULT_RIDGE)
    yield "λ is twice as large", by("none", ridge=2 * stated)
    yield "λ is half as large", by("none", ridge=stated / 2)
    yield "λ is squared", by("none", ridge=stated**2)
    if not golden.rows.all():
        yield (
            "the fit takes all samples, not only those of the target class",
            by("none", rows=np.ones_like(golden.rows)),
        )
    if len(step.branches) > 1:
        yield "the branches are fitted one by one, not jointly", by("one by one")
    for cause, regression in slipped(golden.material, step):
        yield cause, by("none", regression=regression)


def _prediction_causes(deviation: Deviation, golden: Golden) -> Explained:
    """What the golden weights reconstruct with one mistake."""
    step = golden.material.plan.step_of[deviation.tensor]
    if deviation.what == "linear":
        yield (
            "the intercept is not left out",
            lambda: golden.material.predict(step, golden.a, golden.inverted[step.tensor], affine=True),
        )
    if step.tensor not in golden.inverted or deviation.what not in ("prediction", "linear"):
        return
    inverted = golden.inverted[step.tensor]
    affine = deviation.what == "prediction"
    above = golden.s if affine else golden.a
    if affine and step.intercept:
        yield "the intercept is left out", lambda: golden.material.predict(step, above, inverted, affine=False)
    yield (
        "the kernel is flipped in space",
        lambda: golden.material.predict(step, above, flipped(inverted), affine=affine),
    )
    for cause, regression in slipped(golden.material, step):
        signals = golden.material.read(step, above)
        yield cause, partial(regression.predict, signals, golden.material.taps, inverted, affine=affine)
