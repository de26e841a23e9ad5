"""What the network makes of the samples: the class that each is taken for, and which logits tell samples apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mipin_ref.graph.forward import record_bytes
from mipin_ref.inverse.common.reference import batch_size_of
from mipin_ref.inverse.descent.batch import needs
from mipin_ref.inverse.passes.recordings import Recordings
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.schedule import needed
from mipin_ref.inverse.passes.spec import Key
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


def outcomes(task: FitTask, advance: Advance, recordings: RowStore) -> Outcomes:
    """Take the data through the network once. Raises InvalidData as a forward pass.

    recordings: where as much as there is room for is left of what the fit will need.
    """
    net, plan = task.net, task.plan
    tensors, layers = needs(plan.steps, plan.fitted)
    size = batch_size_of(task, record_bytes(net, {*tensors, net.logits, net.input}, layers.values()))
    later: list[Key] = [("value", name) for name in dict.fromkeys((net.logits, plan.logits))]
    later += [key for key in needed(plan, plan.fitted, ()) if key not in later]
    made = Recordings(net, task.data, recordings, lasting=True).passes([net.logits], (), later, size)
    classes, low, high = [], np.full(net.classes, np.inf), np.full(net.classes, -np.inf)
    for _, _, record in made:
        logits = record.values[net.logits]
        logits = logits.reshape(len(logits), -1)
        classes.append(logits.argmax(axis=1))
        low, high = np.minimum(low, logits.min(axis=0)), np.maximum(high, logits.max(axis=0))
        advance(len(logits))
    return Outcomes(np.concatenate(classes).astype(np.int64), varies(low, high, net.dtype))
