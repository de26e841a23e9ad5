"""The way back in a session of onnxruntime: float32 on the host, of what the forward pass recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mipin_ref.backend import Backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.document import Document
from mipin_ref.graph.fired import Fired
from mipin_ref.graph.forward import Record
from mipin_ref.graph.given import Given
from mipin_ref.graph.optimised import Optimised
from mipin_ref.graph.runs import samples_a_run
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
    returns differs from `InNamespace` by the order of sums. signals: see there.
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
        signals: int = 2,
    ) -> None:
        # More at a time leave the processor's caches, as forward; a sample is as many rows of every tensor as signals.
        layers = [layer for step in steps for layer in step.layers]
        self._samples = samples_a_run(layers, signals * backend.itemsize) * max(1, BLAS_THREADS.count)
        beside: dict[str, HostArray] = {}
        document = Document(np.dtype(np.float32), [SEED], beside=beside)
        self._backend, self._plan, self._target, self._signals = backend, plan, target, signals
        shapes = {step.tensor: step.shape for step in steps}
        for step in steps:
            for layer in step.layers:
                shapes |= dict(zip(layer.inputs, layer.in_shapes, strict=True)) | {layer.output: layer.out_shape}
        pools = switched(layers)
        self._given = given = Given(document, shapes, pools, signals)
        document.input(SEED, document.dtype, ("M", *((1,) if plan.column else logits)))
        written = Written(
            document,
            [plan],
            [weights],
            given.value,
            lambda role, arrays: document.weight(role, arrays[0]),
            given.won,
            given.fire,
            signals,
        )
        back = written.down(steps, SEED, plan.logits)
        self._outputs = {tensor: shapes[tensor] for tensor in tensors}
        self._names = {}
        for tensor in tensors:
            self._names[tensor] = document.append("Identity", [back[tensor]], document.fresh(f"out/{tensor}"))
            document.output(self._names[tensor], ("M", *shapes[tensor]))
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

    @property
    def fired(self) -> Sequence[Fired]:
        return self._given.fired

    def prepared(self, record: Record) -> Recorded:
        given, size = self._given, self._samples
        cuts = (slice(start, start + size) for start in range(0, len(record.values[self._plan.logits]), size))
        runs = [given.told(record, rows) | given.fed(record.values, rows) for rows in cuts]
        return Recorded(record.values, {}, runs)

    def __call__(self, batch: Recorded, *, last: bool) -> Mapping[str, HostArray]:
        y = seed(self._backend, self._plan, batch.values[self._plan.logits], self._target)
        both = {name: np.empty((self._signals, len(y), *shape), y.dtype) for name, shape in self._outputs.items()}
        for number, given in enumerate(batch.runs):
            rows = slice(number * self._samples, (number + 1) * self._samples)
            done = last and number == len(batch.runs) - 1
            for name, made in self._run(y[rows], given, last=done).items():
                both[name][:, rows] = made.reshape(self._signals, -1, *made.shape[1:])
        return {name: signals.reshape(-1, *signals.shape[2:]) for name, signals in both.items()}

    def _run(self, y: HostArray, given: Mapping[str, HostArray], *, last: bool) -> Mapping[str, HostArray]:
        feed = {SEED: np.concatenate([y] * self._signals)} | dict(given)
        # A value that is there again in both signals takes eight times a flag's byte.
        size = sum(array.nbytes * (8 if array.dtype == np.bool_ else 2) for array in feed.values())
        self._workspace = 0 if last else max(self._workspace, size)
        made = self._session(list(self._names.values()), feed, last=last)
        return dict(zip(self._names, made, strict=True))


def ridden(
    backend: Backend,
    plan: Plan,
    steps: Sequence[Step],
    weights: Mapping[str, Weights],
    tensors: Sequence[str],
    logits: Shape,
    target: int,
    signals: int = 2,
) -> Ride | None:
    """The session of a way back; None where a layer cannot be written, or the weights are too many for a session."""
    if any(layer.no_way_back is not None for step in steps for layer in step.layers):
        return None
    try:
        return Ride(backend, plan, steps, weights, tensors, logits, target, signals)
    except UnsupportedModel:
        return None
