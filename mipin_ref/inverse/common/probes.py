"""Two classes that are fitted in full, and how well what is not their own serves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mipin_ref.inverse.common.contributions import Contributions
from mipin_ref.inverse.inverse import Inverse, inverses_of
from mipin_ref.inverse.passes.fitter import Fitted, FittedTarget
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import Plan, above, below
from mipin_ref.inverse.report import Report
from mipin_ref.layers import HostArray

PROBES = 2

COMPARED = 32
"""Samples that are compared with a part in common, at the most."""

CROSSED = 8
"""Of these, samples that are compared with each other's inverses tensor by tensor, at the most."""


def probes_of(predicted: npt.NDArray[np.int64]) -> list[int]:
    """The classes that most samples are taken for, of equal ones the first."""
    classes, counts = np.unique(predicted, return_counts=True)
    return sorted(int(one) for one in classes[np.argsort(-counts, kind="stable")][:PROBES])


@dataclass(frozen=True, eq=False)
class Probes:
    """fitted: both in full; alone: their inverses; few, rest: samples that are compared; wanted: A ⊙ X at the explained
    tensor, of these and of those.
    """

    fitted: Fitted
    alone: Mapping[int, Inverse]
    few: Contributions
    rest: Contributions | None
    wanted: Mapping[int, tuple[HostArray, ...]]

    @classmethod
    def of(cls, task: FitTask, fitted: Fitted) -> Probes:
        """Those of a fit of each target alone."""
        alone, rows = inverses_of(task, fitted), _spread(len(task.data), COMPARED)
        some = rows[_spread(len(rows), CROSSED)]
        others = np.setdiff1d(rows, some).tolist()
        few, rest = Contributions(task, some.tolist()), Contributions(task, others) if others else None
        wanted = {one: tuple(x.of(inverse) for x in (few, rest) if x is not None) for one, inverse in alone.items()}
        return cls(fitted, alone, few, rest, wanted)

    def own(self, plan: Plan) -> dict[int, FittedTarget]:
        """What was fitted of each above the common tensor of a plan."""
        part = above(plan)
        kept = [step.tensor for step in part.fitted]

        def some(one: FittedTarget) -> FittedTarget:
            rows = tuple(row for row in one.report.tensors if row.tensor in part.step_of)
            return replace(one, weights={name: one.weights[name] for name in kept}, report=Report(rows))

        return {target: some(one) for target, one in self.fitted.targets.items()}

    def crossed(self, plan: Plan) -> float:
        """How well each is served by the other's inverses from the plan's common tensor down, its own above it."""
        first, second = self.alone
        lower = [step.tensor for step in below(plan).fitted]
        mixed = {
            one: replace(
                self.alone[one],
                weights={**self.alone[one].weights, **{name: self.alone[other].weights[name] for name in lower}},
            )
            for one, other in ((first, second), (second, first))
        }
        return self.agreement(mixed, few=True)

    def agreement(self, inverses: Mapping[int, Inverse], *, few: bool = False) -> float:
        """The lower of both median correlations of A ⊙ X at the explained tensor with that of their own inverses.

        few: of CROSSED of the samples.
        """
        compared = [x for x in (self.few, None if few else self.rest) if x is not None]
        medians = []
        for one, wanted in self.wanted.items():
            pairs = zip(wanted, compared, strict=False)
            medians.append(np.median(np.concatenate([correlations(own, x.of(inverses[one])) for own, x in pairs])))
        return float(min(medians))


def candidates(plan: Plan, most: int) -> list[Plan]:
    """The plan with each of the fitted tensors in common that are nearest to the logits, from there down.

    Not those whose inverses read the logits: there each class has weights of its own.
    """
    cuts = (replace(plan, common=step.tensor) for step in plan.fitted)
    return [cut for cut in cuts if above(cut).fitted and plan.logits not in below(cut).given][:most]


def _spread(samples: int, most: int) -> npt.NDArray[np.int64]:
    """Rows of so many samples, spread evenly over them [n]."""
    return np.unique(np.linspace(0, samples - 1, most).astype(np.int64))


def correlations(one: HostArray, other: HostArray) -> npt.NDArray[np.float64]:
    """Of each sample of two arrays [n, ...], over all its elements [n]; 1 where both are constant, 0 where one is."""
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (one, other))
    a, b = (values - values.mean(axis=1, keepdims=True) for values in (a, b))
    most = [np.max(np.abs(values), axis=1) for values in (a, b)]
    constant = (most[0] == 0) | (most[1] == 0)
    # Scaled first, so that no product of small numbers is lost.
    a, b = (values / np.where(constant, 1, largest)[:, None] for values, largest in zip((a, b), most, strict=True))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (most[0] == most[1]).astype(np.float64)
    related: npt.NDArray[np.float64] = np.where(constant, same, np.sum(a * b, axis=1) / np.where(constant, 1, norms))
    return related
