"""One step of a fit's way down in a session of onnxruntime: float32 on the host, of signals and masks that are given.

A session a step, not one for a whole path: what onnxruntime makes of a step then never depends on the steps around it,
so that a fit that was interrupted, which takes a longer path to the signals that it had kept, goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mipin_ref.backend import Backend
from mipin_ref.graph.document import Document
from mipin_ref.graph.forward import Record
from mipin_ref.graph.given import Given
from mipin_ref.graph.optimised import Optimised
from mipin_ref.graph.runs import samples_a_run
from mipin_ref.inverse.descent.weights import DeviceWeights, Weights
from mipin_ref.inverse.descent.written import Written
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers import HostArray, stateful

LEAST = 2e7
"""Operations of all samples from which a session is opened: of fewer NumPy is done before it is open."""


class StepRide:
    """The source signals of one step's tensor, masked, from those that it reads.

    What it returns differs from what `reconstruct` and the mask give by the order of sums.
    """

    def __init__(self, plan: Plan, step: Step, weights: DeviceWeights) -> None:
        """weights: of the step, in NumPy."""
        self._size, self._shape = samples_a_run(step.layers, np.dtype(np.float32).itemsize), step.shape
        beside: dict[str, HostArray] = {}
        document = Document(np.dtype(np.float32), beside=beside)
        self._given = Given(document, {step.tensor: step.shape}, {}, 1)
        self._read = {name: document.fresh(f"signal/{name}") for name in dict.fromkeys(step.reads)}
        shapes = {layer.output: layer.out_shape for layer in step.layers}
        for name, called in self._read.items():
            document.input(called, document.dtype, ("N", *shapes[name]))
        written = Written(
            document,
            [plan],
            [{step.tensor: Weights(weights.blocks, weights.intercept)}],
            self._given.value,
            lambda role, arrays: document.weight(role, arrays[0]),
            self._given.won,
            self._given.fire,
            signals=1,
        )
        made = written.stepped(step, self._read)
        self._output = document.append("Identity", [made], document.fresh("made"))
        document.output(self._output, ("N", *step.shape))
        # There may be many at a time, a step and target each, and an arena each would be memory that nobody counts.
        self._session = Optimised(document, beside, 1, arena=False)
        self._given.close()

    def __call__(self, signals: Mapping[str, HostArray], masks: Mapping[str, HostArray]) -> HostArray:
        """The signals [n, *shape]. signals: by tensor [n, ..]; masks: by tensor, ones where it fired [n, *shape]."""
        told = self._given.told(Record({}, {}, {fired: masks[fired[0]] for fired in self._given.fired}))
        read = {called: signals[name] for name, called in self._read.items()}
        return self._session.in_runs(self._output, self._shape, read | told, self._size)


def rides(backend: Backend, step: Step, samples: int) -> bool:
    """Whether a step of so many samples is taken by a session: of convolutions, which onnxruntime computes at many
    times the speed of array namespaces, and of what stands beside them, if that depends on nothing recorded.
    """
    if not backend.rides or not step.fitted or not step.located:
        return False
    layers = step.layers
    if stateful(layers) or any(layer.no_way_back is not None for layer in layers):
        return False
    return samples * sum(layer.operations for layer in layers) >= LEAST
