"""Fit the inverses, layer by layer from the logits down (paper, Algorithm 1): one pass over the data a tensor."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import ModuleType
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Backend, get_backend
from mipin_ref.data import Samples, as_samples, open_labels
from mipin_ref.errors import InvalidData
from mipin_ref.graph.forward import Recorder, check_batch
from mipin_ref.graph.layer import Array, Conv, Dense
from mipin_ref.graph.network import Network
from mipin_ref.inverse.blocks import (
    DeviceWeights,
    Problem,
    Weights,
    block_name,
    sample_bytes,
    solve_sums,
)
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.options import FitOn, Options, checked_batch_size, memory_bytes
from mipin_ref.inverse.plan import Plan, Step, make_plan
from mipin_ref.inverse.propagate import descend, needs, seed, to_device
from mipin_ref.inverse.report import Report, TensorReport, tensor_report
from mipin_ref.progress import Advance, progress_bar


class FitOptions(TypedDict, total=False):
    """The keyword arguments of `fit`."""

    labels: Any
    ridge: float
    conv_bias: bool
    at: str | None
    input_mask: bool | None
    local: bool
    fit_on: FitOn
    backend: str | Backend | ModuleType
    dtype: str
    batch_size: int | None
    memory: str | int
    progress: bool


@overload
def fit(net: Network, x: Any, target: int, **options: Unpack[FitOptions]) -> Inverse: ...
@overload
def fit(net: Network, x: Any, target: Sequence[int], **options: Unpack[FitOptions]) -> dict[int, Inverse]: ...
def fit(
    net: Network,
    x: Any,
    target: int | Sequence[int],
    *,
    labels: Any = None,
    ridge: float = 1e-3,
    conv_bias: bool = False,
    at: str | None = None,
    input_mask: bool | None = None,
    local: bool = True,
    fit_on: FitOn = "all",
    backend: str | Backend | ModuleType = "numpy",
    dtype: str = "float64",
    batch_size: int | None = None,
    memory: str | int = "2GB",
    progress: bool = False,
) -> Inverse | dict[int, Inverse]:
    """Fit MIP-IN for one target, or for several in the same passes over the data.

    net: from `load`; x: calibration samples [N, *input_shape], N >= 2: an array, a .npy/.npz path, or anything with
    len() and slicing, read batch by batch; target: class index, or several (the result is then a dict by class);
    labels: [N] integers or a path, used by fit_on="target_class" (predictions where absent); options: see `Options`;
    backend: "numpy", "cupy" or an array-API namespace; batch_size: samples a batch, by default what `memory` allows;
    memory: what the fit may hold beyond interpreter and network; progress: show a bar on a terminal.

    Costs one forward pass of the data per fitted tensor (per group of targets whose sums fit into half of `memory`),
    plus the normal equations; nothing of the size of the data is kept.

    Raises InvalidData (shape, dtype, NaN, Inf, N < 2, target, a dead layer, a constant logit, memory too small),
    BackendUnavailable.
    """
    device = get_backend(backend, dtype)
    options = Options(ridge, conv_bias, at, input_mask, local, fit_on, device.dtype)
    several = isinstance(target, Sequence) or (isinstance(target, np.ndarray) and target.ndim > 0)
    asked = list(target) if several else None  # type: ignore[arg-type]
    targets = [net.check_target(t) for t in ([target] if asked is None else asked)]
    if not targets or len(set(targets)) != len(targets):
        raise InvalidData(f"targets must be one or more distinct classes, not {targets}")
    plan = make_plan(net, at=at, local=local, input_mask=input_mask)
    data = as_samples(x)
    _check_data(net, data)
    fitter = _Fitter(net, plan, options, device, data, _checked_labels(labels, len(data), net), memory_bytes(memory))
    with progress_bar(progress) as start:
        found = fitter.run(targets, checked_batch_size(batch_size), start)
    return found[targets[0]] if asked is None else found


def _check_data(net: Network, data: Samples) -> None:
    if len(data) < 2:
        raise InvalidData(f"a fit needs at least 2 calibration samples; there are {len(data)}")
    check_batch(net, data[0:1])


def _checked_labels(labels: Any, samples: int, net: Network) -> npt.NDArray[np.int64] | None:
    if labels is None:
        return None
    try:
        found = open_labels(labels) if isinstance(labels, str | os.PathLike) else np.asarray(labels)
    except ValueError as error:
        raise InvalidData(f"labels must be integers [N]: {error}") from error
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise InvalidData(f"labels must be integers [N], not {found.dtype} of shape {found.shape}")
    if len(found) != samples:
        raise InvalidData(f"there are {len(found)} labels for {samples} samples")
    if found.min() < 0 or found.max() >= net.classes:
        raise InvalidData(
            f"labels run from {found.min()} to {found.max()}; the network has classes 0..{net.classes - 1}"
        )
    return found.astype(np.int64)


@dataclass
class _Progress:
    """What one target has so far."""

    weights: dict[str, Weights] = field(default_factory=dict)
    on_device: dict[str, DeviceWeights] = field(default_factory=dict)
    report: list[TensorReport] = field(default_factory=list)
    samples: int = 0
    low: float = np.inf
    high: float = -np.inf


class _Fitter:
    def __init__(
        self,
        net: Network,
        plan: Plan,
        options: Options,
        backend: Backend,
        data: Samples,
        labels: npt.NDArray[np.int64] | None,
        memory: int,
    ) -> None:
        self._net, self._plan, self._options, self._backend = net, plan, options, backend
        self._data, self._labels, self._memory = data, labels, memory

    def run(self, targets: Sequence[int], batch_size: int | None, start: Any) -> dict[int, Inverse]:
        state = {target: _Progress() for target in targets}
        for step in self._plan.fitted:
            for group in self._groups(step, state):
                advance = start(f"{step.tensor}, class {', '.join(map(str, group))}", len(self._data))
                self._fit_step(step, {t: state[t] for t in group}, batch_size, advance)
        return {
            t: Inverse(
                self._net, t, self._options, self._plan, s.weights, Report(tuple(s.report)), s.samples, self._backend
            )
            for t, s in state.items()
        }

    def _problem(self, step: Step, samples: int) -> Problem:
        assert isinstance(step.layer, Dense | Conv)
        column = self._plan.is_column(step)
        return Problem(self._backend, step.layer, column, samples, self._options.conv_bias, self._memory // 2)

    def _groups(self, step: Step, state: Mapping[int, _Progress]) -> list[list[int]]:
        """Targets in groups whose sums fit into half the memory together."""
        problems = [self._problem(step, found.samples or len(self._data)) for found in state.values()]
        each = max(problem.bytes for problem in problems)
        if each > 0.8 * self._memory:
            raise InvalidData(
                f"memory={self._memory / 1e9:.2g} GB is too small: the sums of tensor {step.tensor!r} "
                f"take {each / 1e9:.2g} GB a target"
            )
        size, targets = max(1, int(0.5 * self._memory // each)), list(state)
        return [targets[i : i + size] for i in range(0, len(targets), size)]

    def _fit_step(self, step: Step, state: dict[int, _Progress], batch_size: int | None, advance: Advance) -> None:
        began = time.perf_counter()
        net, plan, backend = self._net, self._plan, self._backend
        above = plan.above(step)
        first = not any(s.fitted for s in above)
        problems = {t: self._problem(step, found.samples or len(self._data)) for t, found in state.items()}
        sums = {t: problem.sums() for t, problem in problems.items()}
        held = sum(problem.bytes for problem in problems.values())
        tensors, switches = needs(plan, above)
        recorder = Recorder(net, [*tensors, step.tensor], switches)
        size = batch_size or self._batch_size(step, above, tensors, held)
        for start in range(0, len(self._data), size):
            record = recorder(self._data[start : start + size], start)
            batch = to_device(backend, plan, above, record)
            value = record.values[step.tensor]
            shared = backend.put(value) if self._options.fit_on == "all" else None
            for target, found in state.items():
                rows = self._rows(target, start, batch.logits)
                if not len(rows):
                    continue
                chosen = batch.take(backend, rows)
                y = seed(backend, net, plan, chosen, target)
                signal = descend(backend, above, found.on_device, chosen, y, affine=True)
                sums[target].update(signal, backend.put(value[rows]) if shared is None else shared)
                if first:
                    _note_target(found, chosen.logits, target)
            advance(len(batch.logits))
        for target, found in state.items():
            if first:
                self._check_target(target, found)
            weights, solutions = solve_sums(backend, step.layer, sums[target], self._options.ridge)
            found.weights[step.tensor] = weights
            found.on_device[step.tensor] = DeviceWeights.of(backend, weights)
            unknowns = weights.kernel.size + (0 if weights.intercept is None else weights.intercept.size)
            seconds = (time.perf_counter() - began) / len(state)
            found.report.append(
                tensor_report(step.tensor, block_name(step.layer), found.samples, unknowns, solutions, seconds)
            )

    def _rows(self, target: int, start: int, logits: Array) -> npt.NDArray[np.intp]:
        """Which samples of a batch count for this target."""
        if self._options.fit_on == "all":
            return np.arange(len(logits))
        if self._labels is not None:
            return np.flatnonzero(self._labels[start : start + len(logits)] == target)
        return np.flatnonzero(logits.reshape(len(logits), -1).argmax(axis=1) == target)

    def _batch_size(self, step: Step, above: Sequence[Step], tensors: Sequence[str], held: int) -> int:
        layers = [*(s.layer for s in above), step.layer]
        fetched = [self._net.input_shape, *(self._net.shapes[t] for t in (*tensors, step.tensor))]
        each = sample_bytes(layers, fetched, self._backend.itemsize)
        return int(max(1, min(1024, 0.5 * (self._memory - held) // each)))

    def _check_target(self, target: int, found: _Progress) -> None:
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
            + (f", because all activations of tensor {dead!r} are zero" if dead else ": there is nothing to invert")
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


def _note_target(found: _Progress, logits: Array, target: int) -> None:
    y = logits.reshape(len(logits), -1)[:, target]
    found.samples += len(y)
    found.low, found.high = min(found.low, float(y.min())), max(found.high, float(y.max()))
