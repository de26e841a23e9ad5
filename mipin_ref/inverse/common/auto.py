"""From where down classes can share their inverses: found by fitting two of them in full (method, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData
from mipin_ref.inverse.common.fitted import Checkpoints, InCommon, Start, cut_at, unlike
from mipin_ref.inverse.inverse import Inverse, inverses_of
from mipin_ref.inverse.passes.fitter import Fitter
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import Step
from mipin_ref.inverse.plan.common import with_common
from mipin_ref.inverse.report import Common
from mipin_ref.inverse.targets import check_room, weight_bytes
from mipin_ref.layers import HostArray

AGREEMENT = 0.999
"""The median over samples of the correlation of A ⊙ X with that of a probe's own inverse, that is asked of both."""

PROBES = 2

TRIES = 6
"""Fitted tensors nearest to the logits that are tried. Each costs a fit of what is below it and one of what is above it
for every class that samples are taken for: further down there is little left to share, and it costs more than it
spares."""

COMPARED = 32
"""Samples that are compared, at the most."""


def fit_in_common_where_they_agree(
    task: FitTask, targets: Sequence[int], start: Start, checkpoints: Checkpoints
) -> InCommon | dict[int, Inverse]:
    """Fit all targets, in common from the highest tensor down where the probes agree.

    The probes, the two classes that most samples are taken for, are fitted in full. Then each fitted tensor, from the
    logits down, is tried, up to TRIES of them: what is common there is fitted, and both probes must agree at the
    explained tensor to AGREEMENT. Where they do at none, where samples are taken for one class alone, and where targets
    do not reach the same locations, every target is fitted alone. Costs, beside a fit of the probes, what is below each
    tensor that is tried, and what is above it for every class that samples are taken for.
    """
    apart = replace(task, options=replace(task.options, common=None))
    first = cut_at(apart, targets, start, checkpoints)
    probes = _probes(first.outcomes.predicted)
    tried: Sequence[Step] = ()
    found: dict[str, float] = {}
    if len(probes) == PROBES and unlike(apart, sorted({*targets, *first.references})) is None:
        alone = inverses_of(apart, Fitter(apart, varied=targets).run(probes, start, checkpoints(apart, probes)))
        x = _compared(task)
        wanted = {probe: inverse.attribute(x).contribution for probe, inverse in alone.items()}
        tried = apart.plan.fitted[:TRIES]
    for step in tried:
        plan = with_common(apart.plan, step.tensor)
        trial = replace(task, plan=plan, options=replace(task.options, common=step.tensor))
        cut = replace(first, task=trial)
        own = cut.above({*cut.references, *probes})
        once = cut.below(own)
        common = Common(step.tensor, len(cut.references))
        both = InCommon(trial, probes, once, common, own, None)
        agreement = found[step.tensor] = _agreement(x, wanted, {probe: both.inverse(probe) for probe in probes})
        if agreement >= AGREEMENT:
            return cut.together(own, once, replace(common, agreement=agreement, probes=tuple(probes)))
    _check_room(apart, targets, found)
    return inverses_of(apart, Fitter(apart).run(targets, start, checkpoints(apart, targets)))


def _check_room(task: FitTask, targets: Sequence[int], found: Mapping[str, float]) -> None:
    """Raises InvalidData as `check_room` where all targets are asked for; found: agreements of the tensors tried."""
    if not len(targets) == task.net.classes > 1:
        return
    try:
        check_room(weight_bytes(task.plan, len(targets)), task.net, task.memory)
    except InvalidData as error:
        if not found:
            raise
        best = max(found, key=found.__getitem__)
        raise InvalidData(
            f"{error}, or as option 'common' tensor {best!r}, which serves two probes to {found[best]:.4f}; 'auto' "
            f"asks for {AGREEMENT}, which none of {len(found)} tried reaches"
        ) from error


def _probes(predicted: npt.NDArray[np.int64]) -> list[int]:
    """The classes that most samples are taken for, of equal ones the first."""
    classes, counts = np.unique(predicted, return_counts=True)
    return sorted(int(one) for one in classes[np.argsort(-counts, kind="stable")][:PROBES])


def _compared(task: FitTask) -> HostArray:
    """Samples spread evenly over the calibration set [n, ...]."""
    rows = np.unique(np.linspace(0, len(task.data) - 1, COMPARED).astype(int))
    return np.concatenate([task.data[int(row) : int(row) + 1] for row in rows])


def _agreement(x: HostArray, alone: Mapping[int, HostArray], shared: Mapping[int, Inverse]) -> float:
    """The lower of the probes' median correlations of A ⊙ X of samples x at the explained tensor, alone and shared."""
    return min(
        float(np.median(correlations(contribution, shared[one].attribute(x).contribution)))
        for one, contribution in alone.items()
    )


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
    found: npt.NDArray[np.float64] = np.where(constant, same, np.sum(a * b, axis=1) / np.where(constant, 1, norms))
    return found
