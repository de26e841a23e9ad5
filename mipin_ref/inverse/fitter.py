"""The passes over the data in which all tensors of a plan are fitted, from the logits down (paper, Algorithm 1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.data import Samples
from mipin_ref.errors import InvalidData
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.layer import Array as HostArray
from mipin_ref.graph.layer import Dense
from mipin_ref.graph.network import Network
from mipin_ref.inverse.ahead import batches, in_hand
from mipin_ref.inverse.blocks import DeviceWeights, Problem, Sums, Weights, sample_bytes, workspace_bytes
from mipin_ref.inverse.describe import block_name
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.kept_rows import KeptRows, worth_keeping
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.inverse.propagate import Recorded, descend, needs, seed, to_device
from mipin_ref.inverse.recordings import Key, Recordings, operations
from mipin_ref.inverse.report import Report, TensorReport, tensor_report
from mipin_ref.progress import Advance

SUMS_SHARE, SIGNALS_SHARE, RECORDINGS_SHARE = 0.5, 0.15, 0.15
"""Of the memory: for sums, for signals and for recordings kept between passes. The rest is for the batch in hand."""

OPERATIONS, ELEMENTS = 2e10, 1e8
"""Rough rates a second of a signal's computation: operations, and elements read or written."""

LARGEST_SHARE = 0.8
"""Of the memory, for the sums of one tensor and one target where they take more than SUMS_SHARE."""


@dataclass
class _Target:
    """What one target has so far; rows: which samples count, known after its first pass."""

    weights: dict[str, Weights] = field(default_factory=dict)
    on_device: dict[str, DeviceWeights] = field(default_factory=dict)
    report: list[TensorReport] = field(default_factory=list)
    rows: npt.NDArray[np.bool_] | None = None
    low: float = np.inf
    high: float = -np.inf

    @property
    def samples(self) -> int:
        return 0 if self.rows is None else int(self.rows.sum())


@dataclass(frozen=True, eq=False)
class _Pass:
    """One pass over the data: from the signals `start` down `path` to the sums of `fitted`; `store`: what it keeps."""

    fitted: tuple[Step, ...]
    path: tuple[Step, ...]
    start: frozenset[str]
    store: tuple[str, ...]


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
    ) -> None:
        self._net, self._plan, self._options, self._backend = net, plan, options, backend
        self._data, self._labels, self._memory, self._batch_size = data, labels, memory, batch_size

    def run(self, targets: Sequence[int], start: Callable[[str, int], Advance]) -> dict[int, Inverse]:
        """One Inverse a target; start: opens a progress bar."""
        state = {target: _Target(rows=self._known_rows(target)) for target in targets}
        signals = KeptRows(int(SIGNALS_SHARE * self._memory))
        recordings = Recordings(self._net, self._data, int(RECORDINGS_SHARE * self._memory))
        with closing(signals), closing(recordings):
            remaining = list(self._plan.fitted)
            while remaining:
                wave = self._wave(remaining, state)
                remaining = [step for step in remaining if step not in wave]
                for group in self._groups(wave, state):
                    self._fit(wave, remaining, {t: state[t] for t in group}, signals, recordings, start)
                recordings.drop(but=self._needed(remaining, self._kept_for(state, signals)))
        order = {step.tensor: number for number, step in enumerate(self._plan.steps)}
        return {
            t: Inverse(
                self._net,
                t,
                self._options,
                self._plan,
                s.weights,
                Report(tuple(sorted(s.report, key=lambda row: order[row.tensor]))),
                s.samples,
                self._backend,
            )
            for t, s in state.items()
        }

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
                f"memory={self._memory / 1e9:.2g} GB is too small: the sums of tensor {ready[0].tensor!r} "
                f"take {first / 1e9:.2g} GB a target; pass memory= of {first / LARGEST_SHARE / 1e9:.2g} GB or more"
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
        signals: KeptRows,
        recordings: Recordings,
        start: Callable[[str, int], Advance],
    ) -> None:
        """One pass for one group of targets, and the solution of its sums."""
        began = time.perf_counter()
        sums = {t: {s.tensor: self._problem(s, found).sums() for s in wave} for t, found in state.items()}
        kept = self._kept_for(state, signals)
        path, first = self._plan.path([name for step in wave for name in step.reads], kept)
        this = _Pass(wave, path, first & kept, self._choose_store(path, first, kept, remaining, state, signals))
        more = f" and {len(wave) - 1} more" if len(wave) > 1 else ""
        advance = start(f"{wave[0].tensor}{more}, class {', '.join(map(str, state))}", len(self._data))
        later = self._needed(remaining, kept | set(this.store))
        self._run(this, self._plan.logits in first - kept, later, state, sums, signals, recordings, advance)
        for target, found in state.items():
            self._check_target(target, found)
            for step in wave:
                weights, solutions = sums[target].pop(step.tensor).solve(self._options.ridge)
                found.weights[step.tensor] = weights
                found.on_device[step.tensor] = DeviceWeights.of(self._backend, weights)
                seconds = (time.perf_counter() - began) / (len(state) * len(wave))
                found.report.append(
                    tensor_report(step.tensor, block_name(step), found.samples, weights.unknowns, solutions, seconds)
                )
        taken, used = self._plan.path([n for step in remaining for n in step.reads], self._kept_for(state, signals))
        signals.drop(lambda key: key[0] in state and key[1] not in used)
        again = {step.tensor for step in taken}
        for found in state.values():
            found.on_device = {name: weights for name, weights in found.on_device.items() if name in again}

    @staticmethod
    def _kept_for(state: Collection[int], signals: KeptRows) -> set[str]:
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
        signals: KeptRows,
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

    def _run(
        self,
        this: _Pass,
        seeded: bool,
        later: Sequence[Key],
        state: Mapping[int, _Target],
        sums: Mapping[int, Mapping[str, Sums]],
        signals: KeptRows,
        recordings: Recordings,
        advance: Advance,
    ) -> None:
        """The data through the pass, batch by batch; seeded: it starts from the logits."""
        backend, plan = self._backend, self._plan
        tensors, pools = needs(this.path, this.fitted)
        if seeded or any(found.rows is None for found in state.values()):
            tensors.append(plan.logits)
        wanted = {name for step in this.fitted for name in step.reads} | set(this.store)
        chosen: dict[int, list[npt.NDArray[np.bool_]]] = {t: [] for t in state}
        read = dict.fromkeys(state, 0)
        held = signals.held + recordings.held + len(state) * self._bytes(this.fitted, state)
        size = self._batch_size or self._default_batch(this, tensors, held)
        for first, stop, found in batches(backend, recordings.passes(tensors, pools, later, size)):
            batch = to_device(backend, this.path, found)
            whole: dict[str, Array] = {}
            for target, known in state.items():
                mask = self._rows(target, known, first, stop, found)
                chosen[target].append(mask)
                rows = np.flatnonzero(mask)
                if not len(rows):
                    continue
                here = batch if len(rows) == stop - first else batch.take(backend, rows)
                begin, end = read[target], read[target] + len(rows)
                read[target] = end
                here_signals = {n: backend.put(signals.read((target, n), begin, end)) for n in this.start}
                if plan.logits in found.values:
                    logits = found.values[plan.logits][rows]
                    _note_logit(known, logits, target)
                    here_signals.setdefault(plan.logits, seed(backend, plan, logits, target))
                reached = descend(
                    backend, this.path, known.on_device, here, here_signals, affine=len(rows), keep=wanted
                )
                for step in this.fitted:
                    x = self._values(found, step.tensor, rows, whole)
                    sums[target][step.tensor].update(reached, here.taps, x)
                for name in this.store:
                    signals.append((target, name), backend.get(reached[name]))
            advance(stop - first)
        for target, known in state.items():
            known.rows = np.concatenate(chosen[target])

    def _default_batch(self, this: _Pass, tensors: Sequence[str], held: int) -> int:
        """Samples a batch that what is left of the memory holds."""
        shapes = [self._net.input_shape, *(self._net.shapes[t] for t in tensors)]
        steps = [*this.path, *this.fitted]
        each = sample_bytes(steps, shapes, self._backend.itemsize) * in_hand(self._backend)
        room = 0.5 * (self._memory - held) - workspace_bytes(self._backend, steps)
        # On a host, a batch beyond the caches costs more a sample, and so does a sum of fewer rows than columns.
        columns = max(
            (one.out_shape[0] for step in this.fitted for one in step.layers if isinstance(one, Dense)), default=0
        )
        most = 1024 if self._backend.has_own_memory else max(256, min(1024, columns))
        return int(max(1, min(room // each, most)))

    def _values(self, found: Recorded, tensor: str, rows: HostArray, whole: dict[str, Array]) -> Array:
        """The true values of a tensor on the device; a whole batch goes there once for all targets."""
        values = found.values[tensor]
        if len(rows) < len(values):
            return self._backend.put(values[rows])
        if tensor not in whole:
            whole[tensor] = self._backend.put(values)
        return whole[tensor]

    def _rows(self, target: int, known: _Target, first: int, stop: int, found: Recorded) -> npt.NDArray[np.bool_]:
        """Which samples of a batch count for this target."""
        if known.rows is not None:
            return known.rows[first:stop]
        logits = found.values[self._plan.logits]
        predicted: npt.NDArray[np.int64] = logits.reshape(len(logits), -1).argmax(axis=1)
        return np.equal(predicted, target)

    def _check_target(self, target: int, found: _Target) -> None:
        if found.samples < 2:
            raise InvalidData(
                f"fit_on='target_class' leaves {found.samples} calibration samples of class {target}; 2 are needed"
            )
        # Equal inputs reach equal logits up to the rounding of the forward pass.
        rounding = 16 * float(np.finfo(self._net.dtype).eps) * max(abs(found.low), abs(found.high))
        if found.high - found.low > rounding:
            return
        dead = self._first_dead_tensor()
        raise InvalidData(
            f"logit {target} is {found.high:.6g} for every calibration sample"
            + (f", and all activations of tensor {dead!r} are zero" if dead else ": there is nothing to invert")
        )

    def _first_dead_tensor(self) -> str | None:
        """The tensor nearest the input, behind it, that is zero on all samples."""
        tensors = [layer.output for layer in self._net.layers]
        recorder = Recorder(self._net, tensors)
        alive: set[str] = set()
        size = max(1, min(256, self._memory // (8 * sum(prod(self._net.shapes[t]) for t in tensors))))
        for start in range(0, len(self._data), size):
            values = recorder(self._data[start : start + size], start).values
            alive.update(t for t in tensors if np.any(values[t]))
        return next((t for t in tensors if t not in alive), None)


def _note_logit(found: _Target, logits: HostArray, target: int) -> None:
    y = logits.reshape(len(logits), -1)[:, target]
    found.low, found.high = min(found.low, float(y.min())), max(found.high, float(y.max()))


def _operations(step: Step) -> float:
    """Multiplications and additions a sample that a step's signal takes."""
    return sum(operations(layer) for layer in step.layers)


def _elements(step: Step) -> int:
    """Elements a sample that a step's signal reads and writes."""
    return prod(step.shape) + sum(prod(layer.out_shape) for layer in step.layers)
