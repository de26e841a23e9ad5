"""From where down classes can share their inverses: found by fitting two of them in full (method, section 4)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mipin_ref.errors import InvalidData, SharingWarning, outside
from mipin_ref.inverse.common.fitted import Checkpoints, Cut, InCommon, Start, cut_at, unlike
from mipin_ref.inverse.common.probes import PROBES, Probes, candidates, probes_of
from mipin_ref.inverse.common.recorded import recorded_bytes
from mipin_ref.inverse.inverse import Inverse, inverses_of
from mipin_ref.inverse.passes.fitter import Fitter
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import Plan, above, below
from mipin_ref.inverse.report import Common
from mipin_ref.inverse.targets import check_room, weight_bytes

AGREEMENT = 0.999
"""The median over samples of the correlation of A ⊙ X with that of a probe's own inverse, that is asked of both."""

LEAST = 0.99
"""The agreement below which classes do not share, though they cannot be fitted alone either."""

TRIES = 12
"""Fitted tensors nearest to the logits that are looked at: further down there is little left to share."""

DOUBT = 1.1
"""By how much what the probes lack with a common part may be overrated from what they lack with each other's inverses,
before it was measured at some tensor."""

TINY = 1e-15
"""Below the rounding of a correlation."""

BY_NAME = "option 'common' takes it by its name"


def fit_in_common_where_they_agree(
    task: FitTask, targets: Sequence[int], start: Start, checkpoints: Checkpoints
) -> InCommon | dict[int, Inverse]:
    """Fit all targets, in common from the highest tensor down where the probes agree.

    The probes, the two classes that most samples are taken for, are fitted in full. At each fitted tensor, from the
    logits down, up to TRIES of them, each of them takes the other's inverses from there down, which costs no fit: so
    far apart are two classes, and half as far from the mean of many, which a common part is fitted on. Where they agree
    with each other to AGREEMENT, it is fitted, and both probes must agree with it at the explained tensor; where they
    do so at none, it is where half of what they lack would be little enough. What is fitted of the probes is their part
    of the result.

    Where they agree at no tensor, SharingWarning says which comes nearest, and every target is fitted alone; or, where
    that takes too much memory, that tensor is taken. Where samples are taken for one class alone, and where targets do
    not reach the same locations, every target is fitted alone. Raises InvalidData where all targets take too much
    memory and the nearest tensor serves the probes to less than LEAST.
    """
    apart = replace(task, options=replace(task.options, common=None))
    with cut_at(apart, targets, start, checkpoints) as first:
        chosen = probes_of(first.outcomes.predicted)
        if len(chosen) < PROBES or unlike(apart, sorted({*targets, *first.references})) is not None:
            _check_alone(apart, targets)
            fitter = Fitter(apart, lasting=first.recordings)
            return inverses_of(apart, fitter.run(targets, start, checkpoints(apart, targets)))
        fitter = Fitter(apart, varied=targets, lasting=first.recordings)
        probes = fitter.run(chosen, start, checkpoints(apart, chosen))
        return Search(first, Probes.of(apart, probes)).settled()


class Search:
    """A fit whose common tensor is looked for.

    first: the fit, not yet cut; probes: what is fitted of it; agreements: to what the probes agree with a common part,
    by tensor: measured where one was fitted, else what is to expect of the probes' own inverses; ratio: of what a probe
    lacks with a common part to what it lacks with the other's inverses; doubt: by how much it may be too high.
    """

    def __init__(self, first: Cut, probes: Probes) -> None:
        self.first, self.probes = first, probes
        self.agreements: dict[str, float] = {}
        # A class is 1 + 1/n variances away from the mean of n, and two from another class.
        self.ratio, self.doubt = (1 + 1 / len(first.references)) / 2, DOUBT

    def settled(self) -> InCommon | dict[int, Inverse]:
        """The fit with the highest tensor in common where the probes agree, else as SharingWarning says."""
        task, targets = self.first.task, self.first.asked
        plans = {str(cut.common): cut for cut in candidates(task.plan, TRIES) if self._has_room(cut)}
        for plan in self._promising(plans):
            if (fit := self._in_common(plan, AGREEMENT)) is not None:
                return fit
        if not plans:
            _check_alone(task, targets)
            return self._alone()
        best = max(plans, key=self.agreements.__getitem__)
        size = weight_bytes(task.plan, len(targets))
        if size > task.memory and (fit := self._in_common(plans[best], LEAST)) is not None:
            self._tell(best, f"it is taken, as {len(targets):,} targets fitted alone take {size / 1e9:,.1f} GB")
            return fit
        # A tensor that the file has no name for cannot be asked for.
        ways = [] if best in task.net.inner else [BY_NAME]
        _check_alone(task, targets, "; ".join(["", self._told(best), *ways]))
        self._tell(best, ", and ".join([*ways, f"each of {len(targets):,} targets is fitted alone"]))
        return self._alone()

    def _has_room(self, plan: Plan) -> bool:
        """Whether what is fitted with the plan's tensor in common takes no more than the memory of the fit."""
        task, part = replace(self.first.task, plan=plan), above(plan)
        own = min(weight_bytes(part, len(self.first.asked)), recorded_bytes(task))
        return own + weight_bytes(part, len(self.first.references)) + weight_bytes(below(plan)) <= task.memory

    def _promising(self, plans: Mapping[str, Plan]) -> Iterator[Plan]:
        """The plans whose common tensor promises AGREEMENT, each when those before it are found wanting.

        First where the probes agree with each other so well, and better still with what lies between them; then where
        that alone is to expect. This fails more often, and a fit in vain takes longer than all the rest of the search.
        """
        lacking: dict[str, float] = {}
        for tensor, plan in plans.items():
            lacking[tensor] = 1 - self.probes.crossed(plan)
            self.agreements[tensor] = 1 - self.ratio * lacking[tensor]
            if lacking[tensor] <= 1 - AGREEMENT:
                yield plan
                self._learn(tensor, lacking.pop(tensor))
        for tensor, less in lacking.items():
            if self.ratio * less <= self.doubt * (1 - AGREEMENT):
                yield plans[tensor]
                self._learn(tensor, less)

    def _learn(self, tensor: str, lacking: float) -> None:
        """Note what the probes lack with the part in common that was fitted from a tensor down."""
        self.ratio, self.doubt = (1 - self.agreements[tensor]) / max(lacking, TINY), 1.0

    def _in_common(self, plan: Plan, least: float) -> InCommon | None:
        """The fit with the plan's tensor in common; None where the probes agree with it to less than `least`."""
        task = self.first.task
        cut = replace(self.first, task=replace(task, plan=plan, options=replace(task.options, common=plan.common)))
        known = self.probes.own(plan)
        own = known | cut.above(set(cut.references) - known.keys())
        once = cut.below(own)
        common = Common(str(plan.common), len(cut.references))
        both = InCommon(cut.task, [*known], once, common, own, None)
        agreement = self.probes.agreement({one: both.inverse(one) for one in known})
        self.agreements[common.tensor] = agreement
        if agreement < least:
            return None
        return cut.together(own, once, replace(common, agreement=agreement, probes=tuple(known)))

    def _alone(self) -> dict[int, Inverse]:
        """Every target by itself; what the probes are is fitted already."""
        task, fitted = self.first.task, self.probes.fitted
        rest = [one for one in self.first.asked if one not in fitted.targets]
        made = dict(fitted.targets)
        if rest:
            fitter = Fitter(task, lasting=self.first.recordings)
            made |= fitter.run(rest, self.first.start, self.first.checkpoints(task, rest)).targets
        return inverses_of(task, replace(fitted, targets={one: made[one] for one in self.first.asked}))

    def _told(self, best: str) -> str:
        net, (one, other) = self.first.task.net, self.probes.alone
        return (
            f"classes {net.target(one)} and {net.target(other)} agree at no tensor to {AGREEMENT}: of "
            f"{len(self.agreements)} looked at {net.quoted(best)} comes nearest, to about {self.agreements[best]:.4f}"
        )

    def _tell(self, best: str, what: str) -> None:
        """Warn that no tensor is good enough; what: is done instead."""
        warnings.warn(f"{self._told(best)}; {what}", SharingWarning, outside())


def _check_alone(task: FitTask, targets: Sequence[int], why: str = "") -> None:
    """Raises InvalidData as `check_room` where all targets are asked for; why: they are fitted alone."""
    if len(targets) == task.net.classes > 1:
        try:
            check_room(weight_bytes(task.plan, len(targets)), task.net, task.memory)
        except InvalidData as error:
            raise InvalidData(f"{error}{why}") from None
