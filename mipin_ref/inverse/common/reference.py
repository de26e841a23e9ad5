"""The signals that a common inverse is fitted on: the mean over some classes of the source signals of each.

To first order in how classes differ, what is fitted on the mean is the mean of what is fitted on each. The signal of a
sample's own predicted class is an extreme one: its logit is high, and the signal holds more of the values than that of
a class that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from mipin_ref.graph.forward import record_bytes
from mipin_ref.graph.network import Network
from mipin_ref.inverse.descent.batch import needs, to_device
from mipin_ref.inverse.descent.descend import descend, seed
from mipin_ref.inverse.descent.memory import sample_bytes
from mipin_ref.inverse.descent.weights import DeviceWeights, Weights
from mipin_ref.inverse.passes.recordings import Recordings
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.schedule import Stored
from mipin_ref.inverse.passes.spec import signal_shape
from mipin_ref.inverse.passes.target import ALL_CLASSES
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import Plan, below, living
from mipin_ref.memory import batch_rows
from mipin_ref.progress import Advance

REFERENCES = 8
"""Classes whose signals a common inverse is fitted on, at the most: 16 take twice as long above it and do no better."""


def references(plan: Plan, net: Network, asked: Sequence[int], varied: npt.NDArray[np.bool_]) -> list[int]:
    """The classes that a common inverse is fitted on: all, or some spread evenly over them.

    All where what is common reads the logits: there each class has weights of its own, of which the signals of others
    tell nothing, and no class is fitted above it.

    varied: whose logit is not the same for all samples [classes]; of the others nothing is learnt, and their sums have
    a condition that single precision does not bear.

    Which targets are asked for has no part in it, but where classes do not reach the same locations: then some of the
    asked ones serve.
    """
    spread = list if plan.logits in below(plan).given else _spread
    some, trace = [int(one) for one in spread(np.flatnonzero(varied))], living(net)
    wanted = trace.signature(asked[0])
    alike = some and all(trace.signature(one) == wanted for one in some)
    return some if alike else [*spread(sorted(asked))]


def _spread(classes: Sequence[int] | npt.NDArray[np.int64]) -> list[int]:
    """At most REFERENCES of them, the first and the last among them."""
    places = np.linspace(0, len(classes) - 1, min(REFERENCES, len(classes)))
    return [int(classes[int(place)]) for place in places.round()]


def mean_signals(
    task: FitTask,
    names: Iterable[str],
    weights: Mapping[int, Mapping[str, Weights]],
    start: Callable[[str, int], Advance],
    recordings: RowStore,
) -> Callable[[RowStore], dict[str, Stored]]:
    """What puts the means over classes of the source signals of tensors `names` into a store.

    task: of what is fitted for each target, whose steps lead to these tensors; weights: of these classes; recordings:
    of other fits of the same data.
    """
    net, plan, backend = task.net, task.plan, task.backend
    shapes = {name: signal_shape(plan, net.shapes, name) for name in sorted(names)}
    path, _ = plan.path(shapes)
    masks, layers = needs(path)
    tensors = [*dict.fromkeys([*masks, plan.logits])]

    def fill(store: RowStore) -> dict[str, Stored]:
        samples, kept = len(task.data), {}
        for name, shape in sorted(shapes.items(), key=lambda one: (prod(one[1]), one[0])):
            bytes_of_all = samples * prod(shape) * backend.itemsize
            kept[name] = Stored(bytes_of_all, not store.room(bytes_of_all, disk=False))
            store.open((ALL_CLASSES, name), samples, shape, backend.dtype, disk=kept[name].disk)
        advance = start(f"mean signals of {len(weights):,} classes", samples)
        each = record_bytes(net, {*tensors, net.input}, layers.values()) + sample_bytes(
            path, [*shapes.values()], backend.itemsize
        )
        size = batch_size_of(task, each)
        for _, _, record in Recordings(net, task.data, recordings, lasting=True).passes(tensors, layers, (), size):
            batch, logits = to_device(backend, path, record), record.values[plan.logits]
            count = len(logits)
            parts = {name: np.zeros((count, *shape), backend.dtype) for name, shape in shapes.items()}
            for target, own in sorted(weights.items()):
                reached = descend(
                    backend,
                    path,
                    {step.tensor: DeviceWeights.of(backend, own[step.tensor]) for step in path if step.fitted},
                    batch,
                    {plan.logits: seed(backend, plan, logits, target)},
                    affine=count,
                    keep=shapes,
                )
                for name, part in parts.items():
                    part += backend.get(reached[name]) / len(weights)
            for name, part in parts.items():
                store.append((ALL_CLASSES, name), part)
            advance(count)
        return kept

    return fill


def batch_size_of(task: FitTask, each: int) -> int:
    """Samples of a batch of a forward pass; each: bytes that one takes."""
    return batch_rows(task.batch_size, task.memory, max(1, each))
