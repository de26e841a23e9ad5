"""What the network makes of the samples: the class that each is taken for, and which logits tell samples apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mipin_ref.graph.forward import Recorder, record_bytes
from mipin_ref.inverse.common.reference import batch_size_of
from mipin_ref.inverse.passes.target import varies
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.progress import Advance


@dataclass(frozen=True, eq=False)
class Outcomes:
    """predicted: the class of the highest logit of each sample, of equal ones the first [N]; varied: whether a logit is
    not the same for all samples [classes].
    """

    predicted: npt.NDArray[np.int64]
    varied: npt.NDArray[np.bool_]


def outcomes(task: FitTask, advance: Advance) -> Outcomes:
    """Take the data through the network once. Raises InvalidData as a forward pass."""
    net, data = task.net, task.data
    recorder = Recorder(net, [net.logits])
    size = batch_size_of(task, record_bytes(net, [net.logits, net.input], ()))
    classes, low, high = [], np.full(net.classes, np.inf), np.full(net.classes, -np.inf)
    for start in range(0, len(data), size):
        logits = recorder(data[start : start + size], start).values[net.logits]
        logits = logits.reshape(len(logits), -1)
        classes.append(logits.argmax(axis=1))
        low, high = np.minimum(low, logits.min(axis=0)), np.maximum(high, logits.max(axis=0))
        advance(len(logits))
    return Outcomes(np.concatenate(classes).astype(np.int64), varies(low, high, net.dtype))
