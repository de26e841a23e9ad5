"""A fitted MIP-IN of one target: apply it to any input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.backend import Backend
from mipin_ref.data import as_samples
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.inverse.blocks import DeviceWeights, Weights, sample_bytes
from mipin_ref.inverse.options import Options, checked_batch_size
from mipin_ref.inverse.plan import Plan
from mipin_ref.inverse.propagate import descend, needs, seed, to_device
from mipin_ref.inverse.report import Report
from mipin_ref.inverse.store import write

BATCH_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class Inverse:
    """The inverse network of one (network, target, calibration set); immutable.

    weights: fitted tensor -> its inverse; report: how each was fitted; samples: calibration samples used.
    """

    net: Network
    target: int
    options: Options
    plan: Plan
    weights: Mapping[str, Weights]
    report: Report
    samples: int
    backend: Backend

    def attribute(self, x: Any, *, batch_size: int | None = None) -> Attribution:
        """Source signal and attribution of the target for x (paper, Algorithm 1).

        x: [N, *input_shape] floats: array, path, or anything with len() and slicing. Returns NumPy arrays of x's shape,
        or of tensor `at`, in the fit's dtype. Raises InvalidData for a wrong shape or dtype, NaN or Inf.
        """
        data = as_samples(x)
        net, plan, backend = self.net, self.plan, self.backend
        steps = plan.steps
        tensors, switches = needs(plan, steps)
        recorder = Recorder(net, [*tensors, plan.explained], switches)
        size = checked_batch_size(batch_size)
        if size is None:
            fetched = [net.shapes[t] for t in (*tensors, plan.explained)]
            layers = [step.layer for step in steps]
            size = max(1, min(256, BATCH_BYTES // sample_bytes(layers, fetched, backend.itemsize)))
        weights = {tensor: DeviceWeights.of(backend, found) for tensor, found in self.weights.items()}
        shape = (len(data), *net.shapes[plan.explained])
        value, source, attribution = (np.empty(shape, backend.dtype) for _ in range(3))
        output = np.empty(len(data), backend.dtype)
        for start in range(0, len(data), size):
            rows = slice(start, min(start + size, len(data)))
            record = recorder(data[rows], start)
            batch = to_device(backend, plan, steps, record)
            y = seed(backend, net, plan, batch, self.target)
            value[rows] = record.values[plan.explained]
            source[rows] = backend.get(descend(backend, steps, weights, batch, y, affine=True))
            attribution[rows] = backend.get(descend(backend, steps, weights, batch, y, affine=False))
            output[rows] = batch.logits.reshape(len(batch.logits), -1)[:, self.target]
        axis = net.channel_axis(plan.explained)
        return Attribution(value, source, attribution, output, self.target, plan.explained, axis)

    def save(self, path: str | Path) -> None:
        """Write to a .mipin file, whole or not at all. Raises OSError where the disk refuses."""
        header = {
            "model_sha256": self.net.sha256,
            "output": self.net.output,
            "target": self.target,
            "samples": self.samples,
            "options": asdict(self.options),
            "backend": self.backend.name,
            "report": self.report.as_rows(),
        }
        tensors = {}
        for number, step in enumerate(self.plan.fitted):
            weights = self.weights[step.tensor]
            tensors[f"{number}.kernel"] = weights.kernel
            if weights.intercept is not None:
                tensors[f"{number}.intercept"] = weights.intercept
        write(path, header, tensors)
