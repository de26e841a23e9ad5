"""The way back in a session of onnxruntime: float32 on the host, of what the forward pass recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from mipin_ref.backend import Backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.document import Document
from mipin_ref.graph.forward import Record
from mipin_ref.graph.optimised import Optimised
from mipin_ref.inverse.descent.batch import Recorded
from mipin_ref.inverse.descent.descend import seed
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.descent.written import Written
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers import HostArray, Shape, Switched, Switches, switched
from mipin_ref.threads import BLAS_THREADS

SEED = "seed"


class Ride:
    """The `Way` of float32 on the host. Masks, switches and states are what it is given, so that none flips: what it
    returns differs from `InNamespace` by the order of sums.
    """

    def __init__(
        self,
        backend: Backend,
        plan: Plan,
        steps: Sequence[Step],
        weights: Mapping[str, Weights],
        tensors: Sequence[str],
        logits: Shape,
        target: int,
    ) -> None:
        beside: dict[str, HostArray] = {}
        self._document = document = Document(np.dtype(np.float32), [SEED], beside=beside)
        self._backend, self._plan, self._target = backend, plan, target
        self._pools = switched(layer for step in steps for layer in step.layers)
        self._shapes = {step.tensor: step.shape for step in steps}
        for step in steps:
            for layer in step.layers:
                self._shapes |= dict(zip(layer.inputs, layer.in_shapes, strict=True)) | {layer.output: layer.out_shape}
        self._values: dict[str, str] = {}
        self._switches: dict[tuple[str, Switches], str] = {}
        document.input(SEED, document.dtype, ("M", *((1,) if plan.column else logits)))
        written = Written(
            document, [plan], [weights], self._value, lambda role, arrays: document.weight(role, arrays[0]), self._won
        )
        signals = written.down(steps, SEED, plan.logits)
        self._outputs = {}
        for tensor in tensors:
            self._outputs[tensor] = document.append("Identity", [signals[tensor]], document.fresh(f"out/{tensor}"))
            document.output(self._outputs[tensor], ("M", *self._shapes[tensor]))
        self._session = Optimised(document, beside, BLAS_THREADS.count)
        self._weight_bytes, self._workspace = document.bytes + sum(one.nbytes for one in beside.values()), 0
        del self._document

    def _value(self, tensor: str) -> str:
        if tensor not in self._values:
            self._values[tensor] = name = self._document.fresh(f"recorded/{tensor}")
            self._document.input(name, self._document.dtype, ("N", *self._shapes[tensor]))
        return self._values[tensor]

    def _won(self, tensor: str, form: Switches) -> str:
        key = tensor, form
        if key not in self._switches:
            document, taps = self._document, form == "taps"
            self._switches[key] = name = document.fresh(f"{form}/{tensor}")
            dtype = document.dtype if taps else np.dtype(np.int64)
            document.input(name, dtype, ("N" if taps else "M", *self._pools[tensor].state_shape))
        return self._switches[key]

    @property
    def bytes(self) -> int:
        """What it holds, roughly: its weights, and the workspace that stays for the next batch."""
        return self._weight_bytes + self._workspace

    @property
    def values(self) -> Sequence[str]:
        return list(self._values)

    @property
    def switches(self) -> Sequence[str]:
        return list(dict.fromkeys(tensor for tensor, _ in self._switches))

    def prepared(self, record: Record) -> Recorded:
        """The values, and switches by the names of the session's inputs."""
        told: dict[str, HostArray] = {}
        for (tensor, form), name in self._switches.items():
            pool, places = self._pools[tensor], record.switches[tensor]
            told[name] = pool.taps(places).astype(np.float32) if form == "taps" else _twice(places, pool)
        return Recorded(record.values, told)

    def __call__(self, batch: Recorded, *, last: bool) -> Mapping[str, HostArray]:
        y = seed(self._backend, self._plan, batch.values[self._plan.logits], self._target)
        feed = {SEED: np.concatenate([y, y])} | dict(batch.taps)
        feed |= {name: batch.values[tensor] for tensor, name in self._values.items()}
        # About twice what it is given, which is there again in both signals.
        self._workspace = 0 if last else max(self._workspace, 2 * sum(array.nbytes for array in feed.values()))
        made = self._session(list(self._outputs.values()), feed, last=last)
        return dict(zip(self._outputs, made, strict=True))


def _twice(places: HostArray, pool: Switched) -> HostArray:
    """Flat indices [n, ...] into n samples, and into the n that follow them [2n, ...]."""
    return np.concatenate([places, places + len(places) * prod(pool.in_shape)])


def ridden(
    backend: Backend,
    plan: Plan,
    steps: Sequence[Step],
    weights: Mapping[str, Weights],
    tensors: Sequence[str],
    logits: Shape,
    target: int,
) -> Ride | None:
    """The session of a way back; None where a layer cannot be written, or the weights are too many for a session."""
    if any(layer.no_way_back is not None for step in steps for layer in step.layers):
        return None
    try:
        return Ride(backend, plan, steps, weights, tensors, logits, target)
    except UnsupportedModel:
        return None
