"""The passes over the data in which all tensors of a plan are fitted, from the logits down (paper, Algorithm 1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mipin_ref.data import Seen
from mipin_ref.data.seen import channels_of
from mipin_ref.errors import InvalidData
from mipin_ref.inverse.descent.weights import DeviceWeights, Weights
from mipin_ref.inverse.passes.budget import Budget, Demand, make_budget
from mipin_ref.inverse.passes.checkpoint import Checkpoint, Finished
from mipin_ref.inverse.passes.held_out import check_samples, picked
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.runner import LocalRunner, Runner
from mipin_ref.inverse.passes.schedule import SUMS_SHARE, Known, Stored, kept_behind, schedule, waves
from mipin_ref.inverse.passes.spec import PassSpec
from mipin_ref.inverse.passes.target import ALL_CLASSES, TargetState, varies
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan.describe import block_name
from mipin_ref.inverse.report import Report, TensorReport, tensor_report
from mipin_ref.progress import Advance
from mipin_ref.solve.rounding import UNIT, too_far

SIGNALS_SHARE, RECORDINGS_SHARE = 0.06, 0.2
"""Shares of the memory for signals and recordings kept between passes. The rest is for sums and the batch in hand.

What is kept grows with the samples, so what is beyond goes to files. To write and read these takes as long as a forward
pass and more where layers are quick, so that of a few hundred photographs most should stay; signals are those of few
tensors at a time.
"""


class RoundedTooMuch(Exception):
    """Single precision cannot fit a tensor; told to `fit`, which goes on in double precision."""

    def __init__(self, tensor: str, amplification: float) -> None:
        self.tensor, self.moved = tensor, amplification * UNIT
        super().__init__(f"tensor {tensor}: rounding may move the results by {self.moved:.1g} of their largest entry")


@dataclass
class _Target(TargetState):
    """What one target has so far."""

    weights: dict[str, Weights] = field(default_factory=dict)
    report: list[TensorReport] = field(default_factory=list)

    @property
    def count(self) -> int | None:
        """Samples that count; None where that is not known yet."""
        return None if self.rows is None else int(self.rows.sum())

    @property
    def samples(self) -> int:
        return self.count or 0


@dataclass(frozen=True, eq=False)
class FittedTarget:
    """What a fit gives for one target: weights by fitted tensor, report, and how many samples counted."""

    weights: Mapping[str, Weights]
    report: Report
    samples: int


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit gives: targets by class; seen: range and mean of what the network was shown."""

    targets: Mapping[int, FittedTarget]
    seen: Seen


class Fitter:
    """Fits the inverses of a task for several targets."""

    def __init__(
        self,
        task: FitTask,
        runner: Runner | None = None,
        *,
        given: Callable[[RowStore], Mapping[str, Stored]] | None = None,
        varied: Collection[int] | None = None,
        recorded: RowStore | None = None,
        seen: Seen | None = None,
        lasting: RowStore | None = None,
    ) -> None:
        """runner: where the data are taken through the passes, by default in this process; given: puts the signals
        that the plan says are given, of ALL_CLASSES, into a store; varied: the targets whose logit must not be the same
        for every sample, all where None; recorded: all that the network computes of the data, with what it has seen
        where no data are read; lasting: where recordings of other fits of the same data are found, and these are left.
        """
        self._task, self._runner, self._given, self._varied = task, runner, given, varied
        self._recorded, self._seen, self._lasting = recorded, seen, lasting

    def run(
        self, targets: Sequence[int], start: Callable[[str, int], Advance], checkpoint: Checkpoint | None = None
    ) -> Fitted:
        """Fit all targets; start: opens a progress bar; checkpoint: where finished passes come from and go to.

        Raises RoundedTooMuch where the options ask for single precision and a tensor needs double.
        """
        state = {target: _Target(rows=self._known_rows(target)) for target in targets}
        known = Known(len(self._task.data), {target: one.count for target, one in state.items()})
        budget = self._budget(known)
        signals = RowStore(budget.signals)
        recorded = self._recorded or self._lasting or RowStore(budget.recordings)
        if self._lasting is not None:
            self._lasting.resize(budget.recordings)
        lasting = self._lasting is not None
        with closing(self._runner or LocalRunner(self._task, signals, recorded, lasting=lasting)) as runner:
            if self._given is not None:
                known = replace(known, kept={ALL_CLASSES: self._given(signals)})
            self._passes(state, known, budget, runner, start, checkpoint)
        assert self._seen is not None
        order = {step.tensor: number for number, step in enumerate(self._task.plan.steps)}
        reports = {t: Report(tuple(sorted(one.report, key=lambda row: order[row.tensor]))) for t, one in state.items()}
        return Fitted({t: FittedTarget(one.weights, reports[t], one.samples) for t, one in state.items()}, self._seen)

    def _passes(
        self,
        state: dict[int, _Target],
        known: Known,
        budget: Budget,
        runner: Runner,
        start: Callable[[str, int], Advance],
        checkpoint: Checkpoint | None,
    ) -> None:
        """Make all passes, or take them over from the checkpoint."""
        net, plan, backend = self._task.net, self._task.plan, self._task.backend

        def scheduled() -> Iterator[PassSpec]:
            return schedule(plan, net.shapes, backend, self._task.memory, budget, runner.room, known)

        passes, last, restored = scheduled(), None, False
        while (spec := next(passes, None)) is not None:
            if last is not None and spec.wave > last.wave:
                counts = {target: one.count for target, one in state.items()}
                learnt = counts != known.samples
                known = replace(
                    known, waves=spec.wave, groups=0, fitted=known.fitted.union(last.fitted), samples=counts
                )
                last = None
                if learnt:
                    passes, restored = scheduled(), False
                    continue
            known, last = replace(known, groups=spec.group), spec
            if checkpoint is not None and (finished := checkpoint.load(spec)) is not None:
                self._restore(spec, state, finished, start)
                # What it would have kept is not there: those behind it are thought through anew.
                restored = True
                continue
            if restored:
                passes, restored = scheduled(), False
                last = spec = next(passes)
            self._fit(spec, {t: state[t] for t in spec.samples}, runner, start)
            known = replace(known, kept=kept_behind(known.kept, spec, plan, net.shapes, backend.itemsize))
            if checkpoint is not None:
                checkpoint.save(spec, {t: self._finished(t, spec, state[t]) for t in spec.samples})

    def _seen_by(self, runner: Runner) -> Seen:
        assert runner.extent is not None
        net = self._task.net
        return runner.extent.seen(*channels_of(net.input_shape, net.channel_axis(net.input)))

    def _known_rows(self, target: int) -> npt.NDArray[np.bool_] | None:
        """Which samples count for a target; None where predictions will tell."""
        if self._task.options.fit_on == "all":
            return np.ones(len(self._task.data), bool)
        return None if self._task.labels is None else np.equal(self._task.labels, target)

    def _fit(
        self,
        spec: PassSpec,
        state: dict[int, _Target],
        runner: Runner,
        start: Callable[[str, int], Advance],
    ) -> None:
        """One pass for one group of targets, and the solution of its sums."""
        began, task = time.perf_counter(), self._task
        for one in state.values():
            missing = [s.tensor for s in spec.path_steps(task.plan) if s.fitted and s.tensor not in one.on_device]
            one.on_device |= {name: DeviceWeights.of(task.backend, one.weights[name]) for name in missing}
        sums = runner.run(spec, state, start(spec.title, len(task.data)))
        steps = spec.fitted_steps(task.plan)
        for target, one in state.items():
            self._check_target(target, one, runner)
            for step in steps:
                ridge, whole = picked(sums[target].pop(step.tensor), task.options.ridge)
                weights, solutions = whole.solve(ridge)
                amplification = max(s.amplification for s in solutions)
                if task.options.dtype == "float32" and too_far(amplification):
                    raise RoundedTooMuch(task.net.quoted(step.tensor), amplification)
                one.weights[step.tensor] = weights
                seconds = (time.perf_counter() - began) / (len(state) * len(steps))
                given = step.tensor, block_name(step), one.samples, weights.unknowns, solutions, seconds
                one.report.append(tensor_report(*given, ridge if task.plan.held_out else None))
            one.on_device = {name: weights for name, weights in one.on_device.items() if name in spec.weights}
        if spec.looks and self._recorded is None:
            self._seen = self._seen_by(runner)

    def _restore(
        self,
        spec: PassSpec,
        state: Mapping[int, _Target],
        finished: Mapping[int, Finished],
        start: Callable[[str, int], Advance],
    ) -> None:
        """Take over what a pass of an earlier run found."""
        for target, part in finished.items():
            one = state[target]
            one.weights |= part.weights
            one.report += part.report
            one.rows = one.rows if part.rows is None else part.rows
            self._seen = self._seen or part.seen
        start(f"{spec.title}, from the checkpoint", len(self._task.data))(len(self._task.data))

    def _finished(self, target: int, spec: PassSpec, one: _Target) -> Finished:
        """What the pass just made has found."""
        return Finished(
            {name: one.weights[name] for name in spec.fitted},
            [row for row in one.report if row.tensor in spec.fitted],
            one.rows if self._known_rows(target) is None else None,
            self._seen if spec.looks else None,
        )

    def _budget(self, known: Known) -> Budget:
        """How the memory is shared out, before anything is known but the plan and what labels tell."""
        task = self._task
        left = waves(task.plan, task.backend, task.memory, known)
        sums = max(max(map(len, wave.groups)) * wave.bytes for wave in left)
        if any(samples is None for samples in known.samples.values()):
            # Sums of fewer samples may be smaller, and more of them share a pass.
            sums = max(sums, int(SUMS_SHARE * task.memory))
        demand = Demand([wave.steps for wave in left], sums, len(known.samples), known.total)
        shares = SIGNALS_SHARE, RECORDINGS_SHARE
        budget = make_budget(task.net, task.plan, demand, task.memory, shares, task.backend)
        # Whoever says how many samples a batch has gets them added up as they come.
        return replace(budget, batch_size=task.batch_size, coalesced=0) if task.batch_size else budget

    def _check_target(self, target: int, one: _Target, runner: Runner) -> None:
        if one.samples < 2:
            raise InvalidData(
                f"fitting on the target class alone leaves {one.samples} calibration samples of class {target}; "
                "2 are needed"
            )
        if self._task.plan.held_out and one.rows is not None:
            check_samples(one.rows, "" if target == ALL_CLASSES else f" that count for class {target}")
        if self._varied is not None and target not in self._varied:
            return
        if varies(one.low, one.high, self._task.net.dtype):
            return
        dead = self._first_dead_tensor(runner)
        raise InvalidData(
            f"logit {target} is {one.high:.6g} for every calibration sample"
            + (f", and all activations of tensor {dead!r} are zero" if dead else ": there is nothing to invert")
            + "; give calibration samples that differ"
        )

    def _first_dead_tensor(self, runner: Runner) -> str | None:
        """The tensor nearest the input, behind it, that is zero on all samples."""
        tensors = [layer.output for layer in self._task.net.layers]
        alive = runner.alive(tensors)
        return next((t for t in tensors if t not in alive), None)
