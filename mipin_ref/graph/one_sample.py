"""Nodes of a file with a batch of one that read its tensors as those of one sample, the batch's axis among theirs.

As torch has it behind x.squeeze(0) or x[0]: what has no axis of the batch is [N, ...] with one more axis in front.
"""

from __future__ import annotations

from dataclasses import replace

from mipin_ref.graph.draft import Draft, Refused, Signal, in_file
from mipin_ref.graph.node import Node
from mipin_ref.graph.rows import WIDENINGS, Form
from mipin_ref.graph.seats import whole


def on_one(node: Node, draft: Draft) -> None:
    """Draft a node whose inputs are those of one sample.

    Refused where the operator is not followed over rows, or slides over a map.
    """
    read = {name: draft.signals[name] for name in node.inputs if name in draft.signals}
    widening = WIDENINGS.get(node.qualified)
    if widening is None or widening.maps == "always":
        raise Refused("it is not followed where the file has no axis of the batch")
    rank = max(len(signal.shape) for signal in read.values())
    try:
        draft.signals.update({name: whole(draft, name, signal, rank) for name, signal in read.items()})
        widening.step(node, draft, Form(False, rank, None))
    finally:
        draft.signals.update(read)
    for name in filter(None, node.outputs):
        draft.signals[name] = _in_rows(draft.signals[name])


def _in_rows(x: Signal) -> Signal:
    """x [N, *sample] as a file of one sample has it, [*sample], of which an axis holds the rows."""
    axis = next((axis for axis, length in enumerate(x.sample) if length > 1), None)
    if axis is None:
        raise Refused("it leaves one number")
    rows = (1, x.sample[axis])
    return replace(x, shape=in_file(x.sample, axis, rows), axis=axis, rows=rows)
