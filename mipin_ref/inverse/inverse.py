"""A fitted MIP-IN of one target: apply it to any input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.backend import Backend
from mipin_ref.data import Calibration, Preprocessing, Samples, Seen
from mipin_ref.data.calibration import samples_like
from mipin_ref.data.seen import Watch
from mipin_ref.display import InNotebook, OneLine, brief
from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.graph.rides import Rides
from mipin_ref.graph.tokens import places_of_tokens
from mipin_ref.inverse.descent.batch import Recorded
from mipin_ref.inverse.descent.memory import sample_bytes
from mipin_ref.inverse.descent.ride import Ride, ridden
from mipin_ref.inverse.descent.way import InNamespace, Way
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.descent.weights_file import weight_tensors
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes.device_cache import DeviceCache
from mipin_ref.inverse.passes.fitter import Fitted
from mipin_ref.inverse.passes.prefetch import batches, in_hand
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import Plan
from mipin_ref.inverse.report import Report
from mipin_ref.memory import checked_batch_size
from mipin_ref.options import check_size
from mipin_ref.reading import path_of
from mipin_ref.store import write

BATCH_BYTES = 256 << 20
"""What the samples of a batch may take; the workspace of the way back, which does not grow with them, comes on top."""

_cache = DeviceCache()
_rides: Rides[Ride] = Rides()


@dataclass(frozen=True, eq=False)
class Inverse(OneLine, InNotebook):
    """The inverse network of one (network, target, calibration set); immutable.

    weights: fitted tensor -> its inverse; report: how each was fitted; samples: calibration samples used; calibration:
    their preprocessing and range.
    """

    follows_logit: ClassVar[bool] = True
    """Whether A is y_c times something that does not know its sign: it is y_c pushed through what is linear."""

    net: Network
    target: int
    options: Options
    plan: Plan
    weights: Mapping[str, Weights]
    report: Report
    samples: int
    backend: Backend
    calibration: Calibration

    def __post_init__(self) -> None:
        common = self.report.common
        told = {*(row.tensor for row in self.report), *([] if common is None else [common.tensor])}
        names = {name: self.net.called(name) for name in told & self.net.inner}
        object.__setattr__(self, "report", replace(self.report, names=names))

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What was done to the calibration data; None where they came as an array and nothing was said of it."""
        return self.calibration.source.preprocessing

    @property
    def seen(self) -> Seen:
        """Range and mean of every channel of the calibration data as the network saw them."""
        return self.calibration.seen

    def __repr__(self) -> str:
        return (
            f"Inverse(target {self.net.target(self.target)}, {brief(self.net.logits)} down to "
            f"{brief(self.plan.explained)}, {len(self.plan.fitted)} tensors fitted on {self.samples:,} samples)"
        )

    @overload
    def attribute(self, x: Any, *, at: str | None = None, batch_size: int | None = None) -> Attribution: ...
    @overload
    def attribute(self, x: Any, *, at: Sequence[str], batch_size: int | None = None) -> dict[str, Attribution]: ...
    def attribute(
        self, x: Any, *, at: str | Sequence[str] | None = None, batch_size: int | None = None
    ) -> Attribution | dict[str, Attribution]:
        """Source signal and attribution of the target for x (paper, Algorithm 1).

        x: [N, *input_shape] floats, preprocessed as the calibration data were: array, or anything with len() and
        slicing; or a path, which is preprocessed as they were where that is known; at: a tensor on the way from the
        logits to the explained one, by default that one itself, or several (the result is then a dict by name, from
        one descent). Returns NumPy arrays of the tensor's shape in the fit's dtype. For the next call the forward model
        stays open and the weights stay on the device, those of the last few inverses up to DEVICE_CACHE_BYTES. In
        float32 on the host onnxruntime takes the way back too, in a session of its own, which stays open likewise;
        NumPy does where that cannot be written. Both give the same numbers up to the rounding of sums.
        Raises InvalidData for a wrong shape or dtype, NaN or Inf, and for a tensor that is not on the way. Warns with
        InputRangeWarning where x lies far outside the range of the calibration data (see `Seen.departure`).

        >>> import mipin_ref as mr
        >>> digits = mr.data.builtin("mnist_cnn")
        >>> net = mr.load(digits.model)
        >>> x = mr.data.open_data(digits.calibration)[:50]
        >>> result = mr.fit(net, x, target=3, at="auto").attribute(x[:4])
        >>> result.source.shape, result.contribution.shape, result.output.shape
        ((4, 64, 11, 11), (4, 64, 11, 11), (4,))
        """
        data, plan = samples_like(self.calibration, x, whole=self.net.whole, inputs=self.net.inputs), self.plan
        if at is not None and not isinstance(at, str | Sequence):
            raise InvalidData(f"at must be a tensor's name or several, not {shown(at)}")
        asked = (
            [plan.explained] if at is None else [at] if isinstance(at, str) else list(islice(at, len(plan.steps) + 1))
        )
        if not 1 <= len(asked) <= len(plan.steps):
            raise InvalidData("at names no tensor" if not asked else "at names more tensors than are on the way")
        named = {name: self._tensor(name) for name in asked}
        reached = self._descended(data, sorted(set(named.values())), checked_batch_size(batch_size))
        results = {name: reached[tensor] for name, tensor in named.items()}
        return results[asked[0]] if at is None or isinstance(at, str) else results

    def _tensor(self, name: str) -> str:
        tensor = self.net.tensor(name)
        if tensor not in self.plan.step_of:
            raise InvalidData(f"tensor {name!r} is not between the logits and {self.plan.explained!r}")
        return tensor

    @property
    def quick(self) -> bool:
        """Whether onnxruntime takes both ways with all its optimisations: in float32 on the host. What is recorded then
        is rounded otherwise than in a fit, and masks and switches of both signals are those of this recording.
        """
        return self.backend.rides and self.net.dtype == np.float32

    def _way(self, tensors: Sequence[str], *, ride: bool) -> Way:
        """ride: whether onnxruntime takes the way back where it can."""
        (net, target), plan, backend = facing(self.net, self.target), self.plan, self.backend
        path, _ = plan.path(tensors)
        needed = {step.tensor: self.weights[step.tensor] for step in path if step.fitted}
        if ride and self.quick:

            def make() -> Ride | None:
                return ridden(backend, plan, path, needed, tensors, net.shapes[plan.logits], target)

            if (session := _rides.of(self, tuple(tensors), make)) is not None:
                return session
        return InNamespace(backend, plan, path, _cache.of(self, backend, needed), tensors, target)

    def _descended(
        self, data: Samples, tensors: Sequence[str], size: int | None, *, ride: bool = True
    ) -> dict[str, Attribution]:
        (net, target), plan, backend = facing(self.net, self.target), self.plan, self.backend
        path, _ = plan.path(tensors)
        check_size("x", len(data) * max(prod(net.shapes[tensor]) for tensor in tensors))
        way = self._way(tensors, ride=ride)
        fetched = list(dict.fromkeys([*way.values, *tensors, plan.logits]))
        recorder = Recorder(net, fetched, way.switches, way.fired, keep=True, quick=self.quick)
        held = [*fetched, *(tensor for tensor, _ in way.fired)]
        each = sample_bytes(path, [net.shapes[t] for t in held], backend.itemsize, signals=2) * in_hand(backend)
        each += 0 if net.stem is None else net.stem.room
        if size is None:
            size = max(1, min(256, BATCH_BYTES // each))
        large = each * min(size, len(data)) > BATCH_BYTES
        parts = {
            tensor: [np.empty((len(data), *net.shapes[tensor]), backend.dtype) for _ in range(3)] for tensor in tensors
        }
        output = np.empty(len(data), backend.dtype)
        cuts = [slice(start, min(start + size, len(data))) for start in range(0, len(data), size)]
        watch = Watch(self.seen, "the inverse was fitted")

        def record(rows: slice) -> Recorded:
            x = data[rows]
            made = recorder(x, rows.start)
            watch.note(x)
            return way.prepared(made)

        made = ((rows, record(rows)) for rows in cuts)
        for rows, batch in batches(backend, made):
            logits = batch.values[plan.logits]
            signals, count = way(batch, last=large and rows.stop == len(data)), len(logits)
            for tensor, (value, s, a) in parts.items():
                value[rows] = batch.values[tensor]
                s[rows], a[rows] = signals[tensor][:count], signals[tensor][count:]
            output[rows] = logits.reshape(len(logits), -1)[:, target]
        watch.tell(stacklevel=3)
        told = self.net.target(self.target)
        return {
            tensor: Attribution(
                value,
                s,
                a,
                output,
                told,
                tensor,
                net.channel_axis(tensor),
                follows_logit=self.follows_logit,
                input_size=net.input_size,
                places=places_of_tokens(net, tensor),
            )
            for tensor, (value, s, a) in parts.items()
        }

    def save(self, path: str | Path) -> None:
        """Write to a .mipin file, whole or not at all. Raises InvalidData where it cannot be written."""
        header = {
            "model_sha256": self.net.sha256,
            "output": self.net.output,
            "target": self.target,
            "samples": self.samples,
            "options": asdict(self.options),
            "backend": self.backend.name,
            "report": [row.as_row() for row in self.report],
            "common": None if self.report.common is None else asdict(self.report.common),
            "calibration": self.calibration.header(),
        }
        tensors = self.calibration.tensors()
        for number, step in enumerate(self.plan.fitted):
            tensors.update(weight_tensors(str(number), self.weights[step.tensor]))
        write(path_of(path), header, tensors, beside={"seconds": self.report.seconds})


def inverses_of(task: FitTask, fitted: Fitted) -> dict[int, Inverse]:
    """The inverses by target, of what the fit of a task gave."""
    calibration = Calibration(task.data.source, fitted.seen)
    return {
        t: Inverse(task.net, t, task.options, task.plan, x.weights, x.report, x.samples, task.backend, calibration)
        for t, x in fitted.targets.items()
    }
