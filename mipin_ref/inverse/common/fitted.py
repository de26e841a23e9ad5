"""The fit in two parts: for each class above the common tensor, and from there down once (method, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from mipin_ref.data import Calibration
from mipin_ref.errors import InvalidData
from mipin_ref.inverse.common.outcomes import Outcomes, outcomes
from mipin_ref.inverse.common.recorded import Recorded, check_varied, record_all, recorded_bytes
from mipin_ref.inverse.common.reference import mean_signals, references
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.passes.checkpoint import Checkpoint
from mipin_ref.inverse.passes.fitter import RECORDINGS_SHARE, Fitted, FittedTarget, Fitter
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.target import ALL_CLASSES
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import above, below, living
from mipin_ref.inverse.report import Common, Report
from mipin_ref.inverse.targets import check_room, weight_bytes
from mipin_ref.progress import Advance

Start = Callable[[str, int], Advance]
"""Opens a progress bar."""

Checkpoints = Callable[[FitTask, Sequence[int]], Checkpoint | None]
"""The checkpoint of one of the parts, for its task and targets."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A fit cut at its plan's common tensor.

    asked: the targets; outcomes: of the samples; recordings: which its parts leave one another. The common part is
    fitted on `references`, whichever targets are asked for: they too are fitted above it, and it is the same for every
    choice of targets.
    """

    task: FitTask
    asked: Sequence[int]
    outcomes: Outcomes
    references: Sequence[int]
    start: Start
    checkpoints: Checkpoints
    recordings: RowStore

    def above(self, classes: Collection[int]) -> dict[int, FittedTarget]:
        """What these classes have alone. Raises as `Fitter.run` does, InvalidData where they do not share a plan."""
        upper, some = replace(self.task, plan=above(self.task.plan)), sorted(classes)
        if (two := unlike(self.task, some)) is not None:
            one, other = map(self.task.net.target, two)
            raise InvalidData(
                f"targets {one} and {other} do not depend on the same locations, so no inverse serves both: leave "
                "option 'common' out"
            )
        if not upper.plan.fitted or not some:
            return {one: FittedTarget({}, Report(()), len(self.task.data)) for one in some}
        fitter = Fitter(upper, varied=self.asked, lasting=self.recordings)
        return dict(fitter.run(some, self.start, self.checkpoints(upper, some)).targets)

    def below(self, own: Mapping[int, FittedTarget]) -> Fitted:
        """What all have in common; own: of the references, at least."""
        upper, lower = (replace(self.task, plan=cut(self.task.plan)) for cut in (above, below))
        weights: dict[int, Mapping[str, Weights]] = {target: own[target].weights for target in self.references}
        given = mean_signals(upper, lower.plan.given, weights, self.start, self.recordings)
        # Whose mean signals they are is part of what it is.
        finished = self.checkpoints(lower, [ALL_CLASSES, *self.references])
        return Fitter(lower, given=given, varied=(), lasting=self.recordings).run([ALL_CLASSES], self.start, finished)

    def together(self, own: Mapping[int, FittedTarget], once: Fitted, common: Common) -> InCommon:
        """Both parts, for the targets asked for; own: of some classes, once: of all in common.

        What the other targets have alone is fitted now, or, where their weights are more than what they are fitted
        from, when it is asked for.
        """
        missing = set(self.asked) - own.keys()
        if missing and weight_bytes(above(self.task.plan), len(self.asked)) > recorded_bytes(self.task):
            advance = self.start("recording what classes differ in", len(self.task.data))
            made = record_all(self.task, once.seen, advance, self.recordings)
            check_varied(made, self.asked)
            return InCommon(self.task, self.asked, once, common, {}, made)
        return InCommon(self.task, self.asked, once, common, {**own, **(self.above(missing) if missing else {})}, None)


@dataclass(frozen=True, eq=False)
class InCommon:
    """A fit of several targets in two parts.

    own: what each target has alone; recorded: where that is None, what it is fitted from when it is asked for.
    """

    task: FitTask
    asked: Sequence[int]
    once: Fitted
    common: Common
    own: Mapping[int, FittedTarget]
    recorded: Recorded | None

    @property
    def shared(self) -> FittedTarget:
        """What all have in common."""
        return self.once.targets[ALL_CLASSES]

    @property
    def calibration(self) -> Calibration:
        """What is remembered of the data."""
        return Calibration(self.task.data.source, self.once.seen)

    def inverse(self, target: int) -> Inverse:
        """The inverse of one of the targets."""
        task, one = (self.task, self.own[target]) if self.recorded is None else self.recorded.fitted(target)
        order = {step.tensor: number for number, step in enumerate(task.plan.steps)}
        rows = sorted([*one.report.tensors, *self.shared.report.tensors], key=lambda row: order[row.tensor])
        report, weights = Report(tuple(rows), self.common), {**one.weights, **self.shared.weights}
        samples = self.shared.samples
        return Inverse(
            task.net, target, task.options, task.plan, weights, report, samples, task.backend, self.calibration
        )


@contextmanager
def cut_at(task: FitTask, asked: Sequence[int], start: Start, checkpoints: Checkpoints) -> Iterator[Cut]:
    """The cut of a task, for which its data are taken through the network once; its recordings go with it."""
    with closing(RowStore(int(RECORDINGS_SHARE * task.memory))) as recordings:
        told = outcomes(task, start("what the samples are taken for", len(task.data)), recordings)
        wanted = references(task.plan, task.net, asked, told.varied)
        yield Cut(task, asked, told, wanted, start, checkpoints, recordings)


def fit_in_common(task: FitTask, targets: Sequence[int], start: Start, checkpoints: Checkpoints) -> InCommon:
    """Fit all targets, from the plan's common tensor down once for all.

    Raises RoundedTooMuch as `Fitter.run`, InvalidData where the targets and those that it is fitted on do
    not share a plan, and as `check_room` does.
    """
    assert task.plan.common is not None
    if len(targets) == task.net.classes:
        each = min(weight_bytes(above(task.plan), len(targets)), recorded_bytes(task))
        check_room(each + weight_bytes(below(task.plan)), task.net, task.memory)
    with cut_at(task, targets, start, checkpoints) as cut:
        own = cut.above(cut.references)
        return cut.together(own, cut.below(own), Common(task.plan.common, len(cut.references)))


def unlike(task: FitTask, classes: Sequence[int]) -> tuple[int, int] | None:
    """Two of the classes of which one reaches what the other does not; None where all reach the same."""
    trace = living(task.net)
    first = trace.signature(classes[0]) if classes else None
    other = next((one for one in classes if trace.signature(one) != first), None)
    return None if other is None else (classes[0], other)
