"""The passes over the data in which all tensors of a plan are fitted, from the logits down (paper, Algorithm 1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Backend
from mipin_ref.data import Samples, Seen
from mipin_ref.data.seen import channels_of
from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.inverse.descent.batch import needs
from mipin_ref.inverse.descent.weights import DeviceWeights, Weights
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes.budget import Budget, Passes, coalesced_samples, make_budget
from mipin_ref.inverse.passes.checkpoint import Checkpoint, Finished
from mipin_ref.inverse.passes.problem import Problem
from mipin_ref.inverse.passes.recordings import Key
from mipin_ref.inverse.passes.row_store import RowStore, worth_keeping
from mipin_ref.inverse.passes.run import Pass
from mipin_ref.inverse.passes.runner import LocalRunner, Runner
from mipin_ref.inverse.passes.target import TargetState
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.inverse.plan.describe import block_name
from mipin_ref.inverse.report import Report, TensorReport, tensor_report
from mipin_ref.progress import Advance
from mipin_ref.solve.rounding import UNIT, too_far

SUMS_SHARE, SIGNALS_SHARE, RECORDINGS_SHARE = 0.5, 0.03, 0.03
"""Of the memory: for sums, for signals and for recordings kept between passes. The rest is for the batch in hand.

What is kept grows with the samples, and a file that was just written comes back as fast: so most of it goes there, and
more samples take no more memory.
"""

OPERATIONS, ELEMENTS = 2e10, 1e8
"""Rough rates a second of a signal's computation: operations, and elements read or written."""

LARGEST_SHARE = 0.8
"""Of the memory, for the sums of one tensor and one target where they take more than SUMS_SHARE."""


class RoundedTooMuch(Exception):
    """Single precision cannot fit a tensor; told to `fit`, which goes on in double precision."""

    def __init__(self, tensor: str, amplification: float) -> None:
        self.tensor, self.moved = tensor, amplification * UNIT
        super().__init__(f"tensor {tensor!r}: rounding may move the results by {self.moved:.1g} of their largest entry")


@dataclass
class _Target(TargetState):
    """What one target has so far."""

    weights: dict[str, Weights] = field(default_factory=dict)
    report: list[TensorReport] = field(default_factory=list)

    @property
    def samples(self) -> int:
        return 0 if self.rows is None else int(self.rows.sum())


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
    """Fits the inverses of a plan for several targets."""

    def __init__(
        self,
        net: Network,
        plan: Plan,
        options: Options,
        backend: Backend,
        data: Samples,
        labels: npt.NDArray[np.int64] | None,
        memory: int,
        batch_size: int | None,
        runner: Runner | None = None,
    ) -> None:
        """runner: where the data are taken through the passes, by default in this process."""
        self._net, self._plan, self._options, self._backend = net, plan, options, backend
        self._data, self._labels, self._memory, self._batch_size = data, labels, memory, batch_size
        self._runner = runner
        self._seen: Seen | None = None

    def run(
        self, targets: Sequence[int], start: Callable[[str, int], Advance], checkpoint: Checkpoint | None = None
    ) -> Fitted:
        """Fit all targets; start: opens a progress bar; checkpoint: where finished passes come from and go to.

        Raises RoundedTooMuch where the options ask for single precision and a tensor needs double.
        """
        state = {target: _Target(rows=self._known_rows(target)) for target in targets}
        budget = self._budget(state)
        self._size = self._batch_size or budget.batch_size
        self._room = 0 if self._batch_size else budget.coalesced
        with closing(self._runner or self._local(budget)) as runner:
            remaining, waves = list(self._plan.fitted), 0
            while remaining:
                wave = self._wave(remaining, state)
                remaining = [step for step in remaining if step not in wave]
                for number, group in enumerate(self._groups(wave, state)):
                    part = {t: state[t] for t in group}
                    # The first of all passes reads the data whatever is kept.
                    looks = waves == number == 0
                    if checkpoint is not None and (found := checkpoint.load(waves, number, wave, group)) is not None:
                        self._restore(wave, part, found, start)
                        continue
                    self._fit(wave, remaining, part, runner, start, looks=looks)
                    if looks:
                        self._seen = self._looked(runner)
                    if checkpoint is not None:
                        seen = self._seen if looks else None
                        done = {t: self._finished(t, wave, state[t], seen) for t in group}
                        checkpoint.save(waves, number, wave, done)
                waves += 1
                runner.drop(but=self._needed(remaining, self._kept_for(state, runner.signals)))
        order = {step.tensor: number for number, step in enumerate(self._plan.steps)}
        assert self._seen is not None
        return Fitted(
            {
                t: FittedTarget(
                    s.weights, Report(tuple(sorted(s.report, key=lambda row: order[row.tensor]))), s.samples
                )
                for t, s in state.items()
            },
            self._seen,
        )

    def _looked(self, runner: Runner) -> Seen:
        assert runner.extent is not None
        return runner.extent.seen(*channels_of(self._net.input_shape, self._net.channel_axis(self._net.input)))

    def _local(self, budget: Budget) -> LocalRunner:
        signals, recorded = RowStore(budget.signals), RowStore(budget.recordings)
        return LocalRunner(self._net, self._plan, self._backend, self._data, signals, recorded, self._memory)

    def _known_rows(self, target: int) -> npt.NDArray[np.bool_] | None:
        """Which samples count for a target; None where predictions will tell."""
        if self._options.fit_on == "all":
            return np.ones(len(self._data), bool)
        return None if self._labels is None else np.equal(self._labels, target)

    def _problem(self, step: Step, found: _Target) -> Problem:
        samples = found.samples or len(self._data)
        return Problem(self._backend, step, self._plan.is_column(step), samples)

    def _bytes(self, steps: Sequence[Step], state: Mapping[int, _Target]) -> int:
        """What the sums of these steps hold for the target that needs most."""
        return max(sum(self._problem(step, found).bytes for step in steps) for found in state.values())

    def _wave(self, remaining: Sequence[Step], state: Mapping[int, _Target]) -> tuple[Step, ...]:
        """The steps that can be fitted now, as many as the memory for sums takes for one target."""
        unsolved = {step.tensor for step in remaining}
        ready = [
            step for step in remaining if not any(above.tensor in unsolved for above in self._plan.path(step.reads)[0])
        ]
        first = self._bytes(ready[:1], state)
        if first > LARGEST_SHARE * self._memory:
            raise InvalidData(
                f"a memory of {self._memory / 1e9:.2g} GB is too small: the sums of tensor {ready[0].tensor!r} "
                f"take {first / 1e9:.2g} GB a target; allow {first / LARGEST_SHARE / 1e9:.2g} GB or more"
            )
        count = 1
        while count < len(ready) and self._bytes(ready[: count + 1], state) <= SUMS_SHARE * self._memory:
            count += 1
        return tuple(ready[:count])

    def _groups(self, wave: Sequence[Step], state: Mapping[int, _Target]) -> list[list[int]]:
        """Targets in groups whose sums fit into the memory together."""
        size, targets = max(1, int(SUMS_SHARE * self._memory // self._bytes(wave, state))), list(state)
        return [targets[i : i + size] for i in range(0, len(targets), size)]

    def _fit(
        self,
        wave: tuple[Step, ...],
        remaining: Sequence[Step],
        state: dict[int, _Target],
        runner: Runner,
        start: Callable[[str, int], Advance],
        *,
        looks: bool,
    ) -> None:
        """One pass for one group of targets, and the solution of its sums."""
        began, signals = time.perf_counter(), runner.signals
        kept = self._kept_for(state, signals)
        path, first = self._plan.path([name for step in wave for name in step.reads], kept)
        store = self._choose_store(path, first, kept, remaining, state, signals)
        seeded, later = self._plan.logits in first - kept, tuple(self._needed(remaining, kept | set(store)))
        coalesced = coalesced_samples(self._net, wave, len(state), self._room, self._backend.itemsize)
        this = Pass(wave, path, first & kept, store, seeded, later, self._size, coalesced, looks)
        for found in state.values():
            missing = [step.tensor for step in path if step.fitted and step.tensor not in found.on_device]
            found.on_device |= {name: DeviceWeights.of(self._backend, found.weights[name]) for name in missing}
        advance = start(_title(wave, state), len(self._data))
        problems = {t: {s.tensor: self._problem(s, found) for s in wave} for t, found in state.items()}
        sums = runner.run(this, state, problems, advance)
        for target, found in state.items():
            self._check_target(target, found, runner)
            for step in wave:
                weights, solutions = sums[target].pop(step.tensor).solve(self._options.ridge)
                amplification = max(s.amplification for s in solutions)
                if self._options.dtype == "float32" and too_far(amplification):
                    raise RoundedTooMuch(step.tensor, amplification)
                found.weights[step.tensor] = weights
                seconds = (time.perf_counter() - began) / (len(state) * len(wave))
                found.report.append(
                    tensor_report(step.tensor, block_name(step), found.samples, weights.unknowns, solutions, seconds)
                )
        taken, used = self._plan.path([n for step in remaining for n in step.reads], self._kept_for(state, signals))
        signals.drop(lambda key: key[0] in state and key[1] not in used)
        again = {step.tensor for step in taken}
        for found in state.values():
            found.on_device = {name: weights for name, weights in found.on_device.items() if name in again}

    def _restore(
        self,
        wave: Sequence[Step],
        state: Mapping[int, _Target],
        finished: Mapping[int, Finished],
        start: Callable[[str, int], Advance],
    ) -> None:
        """Take over what a pass of an earlier run found."""
        for target, part in finished.items():
            found = state[target]
            found.weights |= part.weights
            found.report += part.report
            found.rows = found.rows if part.rows is None else part.rows
            self._seen = self._seen or part.seen
        start(f"{_title(wave, state)}, from the checkpoint", len(self._data))(len(self._data))

    def _finished(self, target: int, wave: Sequence[Step], found: _Target, seen: Seen | None) -> Finished:
        """What the pass just made has found."""
        tensors = {step.tensor for step in wave}
        return Finished(
            {name: found.weights[name] for name in tensors},
            [row for row in found.report if row.tensor in tensors],
            found.rows if self._known_rows(target) is None else None,
            seen,
        )

    @staticmethod
    def _kept_for(state: Collection[int], signals: RowStore) -> set[str]:
        """The tensors whose signals are kept for all of these targets."""
        return set.intersection(*({name for target, name in signals.keys if target == t} for t in state))

    def _needed(self, remaining: Sequence[Step], kept: Collection[str]) -> list[Key]:
        """What the passes for `remaining` will need to have recorded, what comes first in front."""
        path, _ = self._plan.path([name for step in remaining for name in step.reads], kept)
        order = {step.tensor: number for number, step in enumerate(self._plan.steps)}
        fitted = {step.tensor for step in remaining}
        found: dict[Key, None] = {}
        for step in sorted({*path, *remaining}, key=lambda step: order[step.tensor]):
            tensors, pools = needs([step], [step] if step.tensor in fitted else [])
            found.update(dict.fromkeys(("value", name) for name in tensors))
            found.update(dict.fromkeys(("taps", name) for name in pools))
        return list(found)

    def _choose_store(
        self,
        path: Sequence[Step],
        first: frozenset[str],
        kept: set[str],
        remaining: Sequence[Step],
        state: Mapping[int, _Target],
        signals: RowStore,
    ) -> tuple[str, ...]:
        """Which signals of this pass to keep for the next ones; room is made for them."""
        computed = {step.tensor for step in path} | first
        _, used = self._plan.path([name for step in remaining for name in step.reads], kept | computed)
        shapes = {name: self._signal_shape(name) for name in used - kept}
        rows = {target: found.samples or len(self._data) for target, found in state.items()}
        store = []
        for name in sorted(shapes, key=lambda n: (prod(shapes[n]), n)):
            size = sum(rows.values()) * prod(shapes[name]) * self._backend.itemsize
            disk = not signals.room(size, disk=False)
            again, _ = self._plan.path([name], kept)
            each = sum(_operations(step) / OPERATIONS + _elements(step) / ELEMENTS for step in again)
            if disk and not (worth_keeping(size, each * sum(rows.values())) and signals.room(size, disk=True)):
                continue
            for target, samples in rows.items():
                signals.open((target, name), samples, shapes[name], self._backend.dtype, disk=disk)
            store.append(name)
        return tuple(store)

    def _signal_shape(self, name: str) -> tuple[int, ...]:
        return (1,) if name == self._plan.logits and self._plan.column else self._net.shapes[name]

    def _budget(self, state: Mapping[int, _Target]) -> Budget:
        """How the memory is shared out, before anything is known but the plan and what labels tell."""
        sums, waves, remaining = 0, [], list(self._plan.fitted)
        while remaining:
            waves.append(self._wave(remaining, state))
            remaining = [step for step in remaining if step not in waves[-1]]
            group = max(map(len, self._groups(waves[-1], state)))
            sums = max(sums, group * self._bytes(waves[-1], state))
        if any(found.rows is None for found in state.values()):
            # Sums of fewer samples may be smaller, and more of them share a pass.
            sums = max(sums, int(SUMS_SHARE * self._memory))
        passes = Passes(waves, sums, len(state), len(self._data))
        shares = SIGNALS_SHARE, RECORDINGS_SHARE
        return make_budget(self._net, self._plan, passes, self._memory, shares, self._backend)

    def _check_target(self, target: int, found: _Target, runner: Runner) -> None:
        if found.samples < 2:
            raise InvalidData(
                f"fitting on the target class alone leaves {found.samples} calibration samples of class {target}; "
                "2 are needed"
            )
        # Equal inputs reach equal logits up to the rounding of the forward pass.
        rounding = 16 * float(np.finfo(self._net.dtype).eps) * max(abs(found.low), abs(found.high))
        if found.high - found.low > rounding:
            return
        dead = self._first_dead_tensor(runner)
        raise InvalidData(
            f"logit {target} is {found.high:.6g} for every calibration sample"
            + (f", and all activations of tensor {dead!r} are zero" if dead else ": there is nothing to invert")
        )

    def _first_dead_tensor(self, runner: Runner) -> str | None:
        """The tensor nearest the input, behind it, that is zero on all samples."""
        tensors = [layer.output for layer in self._net.layers]
        alive = runner.alive(tensors)
        return next((t for t in tensors if t not in alive), None)


def _title(wave: Sequence[Step], targets: Collection[int]) -> str:
    """A pass in words."""
    more = f" and {len(wave) - 1} more" if len(wave) > 1 else ""
    return f"{wave[0].tensor}{more}, class {', '.join(map(str, targets))}"


def _operations(step: Step) -> float:
    """Multiplications and additions a sample that a step's signal takes."""
    return sum(layer.operations for layer in step.layers)


def _elements(step: Step) -> int:
    """Elements a sample that a step's signal reads and writes."""
    return prod(step.shape) + sum(prod(layer.out_shape) for layer in step.layers)
