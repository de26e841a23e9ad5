"""The fit in two parts: for each class above the common tensor, and from there down once (method, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mipin_ref.errors import InvalidData
from mipin_ref.inverse.common.predicted import predictions, signals_of_predicted
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.passes.checkpoint import Checkpoint
from mipin_ref.inverse.passes.fitter import Fitted, FittedTarget, Fitter
from mipin_ref.inverse.passes.target import ALL_CLASSES
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import above, below, living
from mipin_ref.inverse.report import Common, Report, TensorReport
from mipin_ref.progress import Advance

Checkpoints = Callable[[FitTask, Sequence[int]], Checkpoint | None]
"""The checkpoint of one of the parts, for its task and targets."""


def fit_in_common(
    task: FitTask, targets: Sequence[int], start: Callable[[str, int], Advance], checkpoints: Checkpoints
) -> Fitted:
    """Fit all targets, from the plan's common tensor down once for all.

    The common part is fitted on the classes that the samples are taken for, of all that the network has, whichever
    targets are asked for: these too are fitted above it, and it is the same for every choice of targets. Raises
    RoundedTooMuch as `Fitter.run`, InvalidData where the targets and those classes do not share a plan.
    """
    assert task.plan.common is not None
    predicted = predictions(task, start("which classes the samples are taken for", len(task.data)))
    classes = sorted({*targets, *(int(one) for one in predicted)})
    _check_alike(task, classes)
    upper, lower = (replace(task, plan=cut(task.plan)) for cut in (above, below))
    own: dict[int, FittedTarget] = {}
    if upper.plan.fitted:
        fitter = Fitter(upper, varied=targets)
        own.update(fitter.run(classes, start, checkpoints(upper, classes)).targets)
    weights: dict[int, Mapping[str, Weights]] = {target: one.weights for target, one in own.items()} or {one: {} for one in classes}
    given = signals_of_predicted(upper, lower.plan.given, predicted, weights, start)
    finished = checkpoints(lower, [ALL_CLASSES])
    both = Fitter(lower, given=given, varied=()).run([ALL_CLASSES], start, finished)
    once = both.targets[ALL_CLASSES]
    common = Common(task.plan.common, len(set(predicted.tolist())))
    made = {}
    for target in targets:
        rows = own[target].report.tensors if own else ()
        report = Report(_in_order(task, [*rows, *once.report.tensors]), common)
        made[target] = FittedTarget({**weights[target], **once.weights}, report, once.samples)
    return Fitted(made, both.seen)


def _in_order(task: FitTask, rows: Sequence[TensorReport]) -> tuple[TensorReport, ...]:
    order = {step.tensor: number for number, step in enumerate(task.plan.steps)}
    return tuple(sorted(rows, key=lambda row: order[row.tensor]))


def _check_alike(task: FitTask, classes: Sequence[int]) -> None:
    """Raises InvalidData where signals of some class do not reach what those of others reach."""
    trace = living(task.net)
    first = trace.signature(classes[0])
    for other in classes[1:]:
        if trace.signature(other) != first:
            raise InvalidData(
                f"targets {task.net.target(classes[0])} and {task.net.target(other)} do not depend on the same "
                "locations, so no inverse serves both: leave option 'common' out"
            )
