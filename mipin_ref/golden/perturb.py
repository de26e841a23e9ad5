"""How far golden values move when what they come from is rounded: the source of their tolerances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mipin_ref.golden.material import Material, pools, recorded
from mipin_ref.golden.regression import Array, Inverted
from mipin_ref.graph.network import Network
from mipin_ref.inverse.plan import Step
from mipin_ref.layers import Layer

SEEDS = 4
SAFETY = 16.0
FLOOR = 64.0
HOPELESS = 0.01
DTYPES = ("float64", "float32")

RECIPE = (
    "every input of a computation is multiplied by 1 + eps·ξ, ξ uniform in [-1, 1], `seeds` times (to rows of a fit "
    "eps·ξ times the root mean square of their largest column is added); change: the largest absolute difference from "
    "the golden values; tolerance = safety·change + floor·eps·largest, null above hopeless·largest"
)

Named = Mapping[str, Array]


@dataclass(frozen=True)
class Rounding:
    """Multiplies by 1 + eps·ξ, ξ uniform in [-1, 1], from one generator."""

    eps: float
    rng: np.random.Generator

    def __call__(self, a: Array) -> Array:
        noise = 1 + self.eps * self.rng.uniform(-1, 1, a.shape)
        return np.asarray(a * noise).astype(a.dtype, copy=False)

    def rows(self, a: Array) -> Array:
        """Rows [r, k] as a backward stable solver sees them: what it rounds is relative to the largest column."""
        largest = np.sqrt(np.max(np.mean(a * a, axis=0), initial=0.0))
        return np.asarray(a + self.eps * largest * self.rng.uniform(-1, 1, a.shape))


@dataclass(frozen=True, eq=False)
class Golden:
    """The golden values of one case: what the perturbed runs are compared with, by candidate's name.

    s, a: by tensor; inverted: by fitted tensor; rows: [n] bool, the samples that the fit uses.
    """

    material: Material
    s: Named
    a: Named
    inverted: Mapping[str, Inverted]
    rows: Array
    ridge: float
    named: Named


def changes(golden: Golden, dtype: str) -> dict[str, float]:
    """By name the largest change of a golden array over all seeds; inf where a run found no finite result."""
    found: dict[str, float] = {}
    eps = float(np.finfo(dtype).eps)
    for run, stage in enumerate((forward, solve, propagate, end)):
        for number in range(SEEDS):
            rounding = Rounding(eps, np.random.default_rng([run, number]))
            for name, value in stage(golden, rounding):
                moved = float(np.max(np.abs(value - golden.named[name]), initial=0.0))
                found[name] = max(found.get(name, 0.0), moved if np.isfinite(moved) else np.inf)
    return found


def forward(golden: Golden, rounding: Rounding) -> Iterator[tuple[str, Array]]:
    """x and all parameters, in the network's own dtype."""
    material = _forward(golden.material, rounding)
    for layer in material.net.layers:
        yield f"forward/value/{layer.output}", material.values[layer.output]


def solve(golden: Golden, rounding: Rounding) -> Iterator[tuple[str, Array]]:
    """The signals above each tensor, its value, the rows of regressors, and its sums."""
    material = golden.material
    for step in material.plan.fitted:
        noisy = replace(material, values={**material.values, step.tensor: rounding(_double(material, step.tensor))})
        above = {name: rounding(golden.s[name]) for name in step.reads}
        found = noisy.invert(step, above, golden.rows, golden.ridge, rounding, rounding.rows)
        yield from solved(golden.material, step.tensor, found, golden.s, golden.a)


def propagate(golden: Golden, rounding: Rounding) -> Iterator[tuple[str, Array]]:
    """y_c and all weights."""
    plan = golden.material.plan
    seed = rounding(golden.s[plan.logits])
    s, a = {plan.logits: seed}, {plan.logits: seed}
    yield from signals(plan.logits, s, a)
    for step in plan.steps:
        weights = golden.inverted.get(step.tensor)
        golden.material.descend(step, None if weights is None else _rounded(weights, rounding), s, a)
        yield from signals(step.tensor, s, a)


def end(golden: Golden, rounding: Rounding) -> Iterator[tuple[str, Array]]:
    """Everything, one step after the other; switches of windows whose golden values tie stay as they are."""
    material, plan = _ties_kept(golden.material, _forward(golden.material, rounding)), golden.material.plan
    s = {plan.logits: material.placed_seed()}
    a = dict(s)
    for step in plan.steps:
        weights = _inverted(golden, material, step, s, rounding) if step.fitted else None
        material.descend(step, weights, s, a)
    yield "end/output", material.placed_seed()[:, material.target]
    yield "end/S", s[plan.explained]
    yield "end/A", a[plan.explained]


def solved(material: Material, tensor: str, found: Inverted, s: Named, a: Named) -> Iterator[tuple[str, Array]]:
    """What the solve stage compares of one tensor."""
    step = material.plan.step_of[tensor]
    for number, block in enumerate(found.blocks):
        yield f"solve/weight/{tensor}/{number}", block
    if found.intercept is not None:
        yield f"solve/intercept/{tensor}", found.intercept
    yield f"solve/prediction/{tensor}", material.predict(step, s, found, affine=True)
    yield f"solve/linear/{tensor}", material.predict(step, a, found, affine=False)


def signals(tensor: str, s: Named, a: Named) -> Iterator[tuple[str, Array]]:
    """What the propagate stage compares of one tensor."""
    yield f"propagate/S/{tensor}", s[tensor]
    yield f"propagate/A/{tensor}", a[tensor]


def _inverted(golden: Golden, material: Material, step: Step, s: Named, rounding: Rounding) -> Inverted:
    return material.invert(step, s, golden.rows, golden.ridge, rounding, rounding.rows)


def _double(material: Material, tensor: str) -> Array:
    return material.values[tensor].astype(np.float64)


def _rounded(weights: Inverted, rounding: Rounding) -> Inverted:
    intercept = None if weights.intercept is None else rounding(weights.intercept)
    return replace(weights, blocks=tuple(rounding(block) for block in weights.blocks), intercept=intercept)


def _forward(material: Material, rounding: Rounding) -> Material:
    net = material.net
    rough = replace(rounding, eps=max(rounding.eps, float(np.finfo(net.dtype).eps)))
    noisy = _noisy(net, rough)
    return recorded(noisy, material.plan, material.target, rough(material.values[net.input]))


def _ties_kept(exact: Material, noisy: Material) -> Material:
    """The perturbed material with the exact one's switches wherever the window chose an equal value.

    Equal values that come about by equal arithmetic stay equal in any implementation: their rounding is the same.
    """
    switches = {}
    for layer in pools(exact.net):
        value = exact.values[layer.input].reshape(*exact.values[layer.input].shape[:2], -1)
        mine, theirs = exact.switches[layer.output], noisy.switches[layer.output]
        flat = mine.reshape(*mine.shape[:2], -1), theirs.reshape(*theirs.shape[:2], -1)
        equal = np.equal(*(np.take_along_axis(value, chosen, axis=2) for chosen in flat)).reshape(mine.shape)
        switches[layer.output] = np.where(equal, mine, theirs)
    return replace(noisy, switches=switches)


def _noisy(net: Network, rounding: Callable[[Array], Array]) -> Network:
    """The network with all parameters rounded anew."""
    return replace(net, layers=tuple(_noisy_layer(layer, rounding) for layer in net.layers))


def _noisy_layer(layer: Layer, rounding: Callable[[Array], Array]) -> Layer:
    found: dict[str, Any] = {name: rounding(value) for name, value in layer.arrays.items()}
    return replace(layer, **found)
