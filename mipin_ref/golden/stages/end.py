"""Stage "end": the target logit, and S and A at the explained tensor, from x alone."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from mipin_ref.golden.material import Material, contests, pools
from mipin_ref.golden.rounding import Rounding
from mipin_ref.golden.stages.propagate import signal_causes
from mipin_ref.golden.stages.signatures import reordered, scaled
from mipin_ref.golden.stages.stage import Deviation, Evidence, Explained, Pairs, Stage, sample_axes, what
from mipin_ref.golden.values import Golden, Named
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.layers import HostArray, Layer


class End(Stage):
    """Everything, one step after the other."""

    name = "end"
    given = "x and rows alone"
    meanings: ClassVar = {
        "output": "target logit y_c",
        "S": "source signal at the explained tensor",
        "A": "attribution at the explained tensor",
    }
    exact = frozenset()
    optional = frozenset()

    def compared(self, golden: Golden) -> Pairs:
        yield from _explained(golden.material, golden.s, golden.a)

    def tensor(self, name: str, material: Material) -> str:
        return material.plan.logits if what(name) == "output" else material.plan.explained

    def axes(self, name: str, material: Material, rank: int) -> list[str]:
        return sample_axes(material, self.tensor(name, material), rank)

    def perturbed(self, golden: Golden, rounding: Rounding) -> Pairs:
        """Rounds everything; switches of windows whose golden values tie stay as they are."""
        material, plan = _ties_kept(golden.material, rounding.forward(golden.material)), golden.material.plan
        s = {plan.logits: material.placed_seed()}
        a = dict(s)
        for step in plan.steps:
            weights = None
            if step.fitted:
                ridge = golden.ridges[step.tensor]
                weights = material.invert(step, s, golden.rows, ridge, rounding, rounding.rows)
            material.descend(step, weights, s, a)
        yield from _explained(material, s, a)

    def remade(self, golden: Golden, fresh: Material, inverse: Inverse) -> Pairs:
        res = inverse.attribute(fresh.values[fresh.net.input])
        yield from (("end/output", res.output), ("end/S", res.source), ("end/A", res.attribution))

    def causes(self, deviation: Deviation, evidence: Evidence) -> Explained:
        yield from reordered(deviation.golden, deviation.value)
        if evidence.network is not None and deviation.what != "output":
            yield from signal_causes(deviation, evidence.golden)
        yield from scaled(deviation.golden, deviation.value)


def _explained(material: Material, s: Named, a: Named) -> Pairs:
    plan = material.plan
    yield "end/output", s[plan.logits][..., material.target]
    yield "end/S", s[plan.explained]
    yield "end/A", a[plan.explained]


def _ties_kept(exact: Material, noisy: Material) -> Material:
    """The perturbed material with the exact one's switches and winners wherever an equal value was chosen.

    Equal values that come about by equal arithmetic stay equal in any implementation: their rounding is the same.
    """
    switches = {}
    for layer in pools(exact.net):
        value = exact.values[layer.input].reshape(*exact.values[layer.input].shape[:2], -1)
        mine, theirs = exact.switches[layer.output], noisy.switches[layer.output]
        flat = mine.reshape(*mine.shape[:2], -1), theirs.reshape(*theirs.shape[:2], -1)
        equal = np.equal(*(np.take_along_axis(value, chosen, axis=2) for chosen in flat)).reshape(mine.shape)
        switches[layer.output] = np.where(equal, mine, theirs)
    winners = {layer.output: _winners_kept(layer, exact, noisy) for layer in contests(exact.net.layers)}
    return replace(noisy, switches=switches, kept=winners)


def _winners_kept(layer: Layer, exact: Material, noisy: Material) -> HostArray:
    values = np.stack([exact.values[name] for name in layer.inputs])
    mine, theirs = exact.taps[layer.output], noisy.taps[layer.output]
    one, other = (np.take_along_axis(values, won[None].astype(np.int64), axis=0)[0] for won in (mine, theirs))
    return np.where(one == other, mine, theirs)
