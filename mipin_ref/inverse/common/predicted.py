"""The signals that a common inverse is fitted on: each sample's own, of the class that it is taken for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod

import numpy as np
import numpy.typing as npt

from mipin_ref.graph.forward import Recorder, record_bytes
from mipin_ref.inverse.descent.batch import asked, needs, recorded, to_device
from mipin_ref.inverse.descent.descend import descend, seed
from mipin_ref.inverse.descent.memory import sample_bytes
from mipin_ref.inverse.descent.weights import DeviceWeights, Weights
from mipin_ref.inverse.passes.budget import BATCH_SHARE, HOST_BATCH
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.schedule import Stored
from mipin_ref.inverse.passes.spec import signal_shape
from mipin_ref.inverse.passes.target import ALL_CLASSES
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.progress import Advance

Predicted = npt.NDArray[np.int64]
"""The class that each sample is taken for [N], an index into the logits."""


def predictions(task: FitTask, advance: Advance) -> Predicted:
    """The class of the highest logit of each sample, of equal ones the first. Raises InvalidData as a forward pass."""
    net, data = task.net, task.data
    recorder = Recorder(net, [net.logits])
    size = batch_size_of(task, record_bytes(net, [net.logits, net.input], ()))
    classes = []
    for start in range(0, len(data), size):
        logits = recorder(data[start : start + size], start).values[net.logits]
        classes.append(logits.reshape(len(logits), -1).argmax(axis=1))
        advance(len(logits))
    return np.concatenate(classes).astype(np.int64)


def signals_of_predicted(
    task: FitTask,
    names: Iterable[str],
    predicted: Predicted,
    weights: Mapping[int, Mapping[str, Weights]],
    start: Callable[[str, int], Advance],
) -> Callable[[RowStore], dict[str, Stored]]:
    """What puts the source signals of tensors `names` into a store, each sample's of its predicted class.

    task: of what is fitted for each target, whose steps lead to these tensors; weights: of the predicted classes.
    """
    net, plan, backend = task.net, task.plan, task.backend
    shapes = {name: signal_shape(plan, net.shapes, name) for name in sorted(names)}
    path, _ = plan.path(shapes)
    masks, layers = needs(path)
    read, switches = asked(layers.values())
    tensors = [*dict.fromkeys([*masks, plan.logits])]

    def fill(store: RowStore) -> dict[str, Stored]:
        samples, kept = len(task.data), {}
        for name, shape in sorted(shapes.items(), key=lambda one: (prod(one[1]), one[0])):
            bytes_of_all = samples * prod(shape) * backend.itemsize
            kept[name] = Stored(bytes_of_all, not store.room(bytes_of_all, disk=False))
            store.open((ALL_CLASSES, name), samples, shape, backend.dtype, disk=kept[name].disk)
        advance = start("signals of the predicted classes", samples)
        recorder = Recorder(net, [*tensors, *read], switches)
        each = record_bytes(net, {*tensors, net.input}, layers.values()) + sample_bytes(
            path, [*shapes.values()], backend.itemsize
        )
        size = batch_size_of(task, each)
        for first in range(0, samples, size):
            record = recorded(recorder(task.data[first : first + size], first), layers)
            batch, logits = to_device(backend, path, record), record.values[plan.logits]
            here = predicted[first : first + len(logits)]
            parts = {name: np.empty((len(logits), *shape), backend.dtype) for name, shape in shapes.items()}
            for target in np.unique(here):
                rows = np.flatnonzero(here == target)
                own = {step.tensor: weights[target][step.tensor] for step in path if step.fitted}
                reached = descend(
                    backend,
                    path,
                    {name: DeviceWeights.of(backend, one) for name, one in own.items()},
                    batch.take(backend, rows),
                    {plan.logits: seed(backend, plan, logits[rows], int(target))},
                    affine=len(rows),
                    keep=shapes,
                )
                for name, part in parts.items():
                    part[rows] = backend.get(reached[name])
            for name, part in parts.items():
                store.append((ALL_CLASSES, name), part)
            advance(len(logits))
        return kept

    return fill


def batch_size_of(task: FitTask, each: int) -> int:
    """Samples of a batch of a forward pass; each: bytes that one takes."""
    return task.batch_size or max(1, min(HOST_BATCH, int(BATCH_SHARE * task.memory) // max(1, each)))
