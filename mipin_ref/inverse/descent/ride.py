"""The way back in a session of onnxruntime: float32 on the host, of what the forward pass recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mipin_ref.backend import Backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.document import Document
from mipin_ref.graph.forward import Record
from mipin_ref.graph.given import Given
from mipin_ref.graph.optimised import Optimised
from mipin_ref.inverse.descent.batch import Recorded
from mipin_ref.inverse.descent.descend import seed
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.descent.written import Written
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers import HostArray, Shape, switched
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
        document = Document(np.dtype(np.float32), [SEED], beside=beside)
        self._backend, self._plan, self._target = backend, plan, target
        shapes = {step.tensor: step.shape for step in steps}
        for step in steps:
            for layer in step.layers:
                shapes |= dict(zip(layer.inputs, layer.in_shapes, strict=True)) | {layer.output: layer.out_shape}
        pools = switched(layer for step in steps for layer in step.layers)
        self._given = given = Given(document, shapes, pools, 2)
        document.input(SEED, document.dtype, ("M", *((1,) if plan.column else logits)))
        written = Written(
            document, [plan], [weights], given.value, lambda role, arrays: document.weight(role, arrays[0]), given.won
        )
        signals = written.down(steps, SEED, plan.logits)
        self._outputs = {}
        for tensor in tensors:
            self._outputs[tensor] = document.append("Identity", [signals[tensor]], document.fresh(f"out/{tensor}"))
            document.output(self._outputs[tensor], ("M", *shapes[tensor]))
        self._session = Optimised(document, beside, BLAS_THREADS.count)
        self._workspace = 0
        given.close()

    @property
    def bytes(self) -> int:
        """What it holds, roughly: its weights, and the workspace that stays for the next batch."""
        return self._session.weight_bytes + self._workspace

    @property
    def values(self) -> Sequence[str]:
        return self._given.values

    @property
    def switches(self) -> Sequence[str]:
        return self._given.switches

    def prepared(self, record: Record) -> Recorded:
        """The values, and switches by the names of the session's inputs."""
        return Recorded(record.values, self._given.told(record))

    def __call__(self, batch: Recorded, *, last: bool) -> Mapping[str, HostArray]:
        y = seed(self._backend, self._plan, batch.values[self._plan.logits], self._target)
        feed = {SEED: np.concatenate([y, y])} | dict(batch.taps) | self._given.fed(batch.values)
        # About twice what it is given, which is there again in both signals.
        self._workspace = 0 if last else max(self._workspace, 2 * sum(array.nbytes for array in feed.values()))
        made = self._session(list(self._outputs.values()), feed, last=last)
        return dict(zip(self._outputs, made, strict=True))


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
