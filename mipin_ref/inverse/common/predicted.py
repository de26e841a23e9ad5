"""The class that each sample is taken for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mipin_ref.graph.forward import Recorder, record_bytes
from mipin_ref.inverse.common.reference import batch_size_of
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
