"""Lengths of samples that a file is tried with: as long as its sequences are, not the flags that other integers are."""

from __future__ import annotations

from dataclasses import replace

from onnx import ModelProto

from mipin_ref.graph.bind import Bound
from mipin_ref.graph.inferred import lengths
from mipin_ref.graph.looked_up import MOST
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.told_lengths import RECURRENT, handed_on


def with_lengths_tried(bound: Bound, proto: ModelProto) -> Bound:
    """The inputs, of which those that are lengths of samples are drawn from one on, up to the number of steps, or MOST;
    all are one where onnx does not infer how many steps there are.

    A sample without steps has no mean over them: a network that divides by lengths makes NaN of it.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    told = [
        (str(node.input[0]), name)
        for node in proto.graph.node
        if node.op_type in RECURRENT and node.domain in STANDARD and len(node.input) > 4
        if (name := handed_on(str(node.input[4]), makers)) in bound.beside
    ]
    if not told:
        return bound
    shapes, below, least = lengths(proto), dict(bound.below), dict(bound.least)
    for sequence, name in told:
        steps, *_ = shapes.get(sequence) or (None,)
        if steps != 0:
            least[name] = 1
        if steps is not None:
            below[name] = min(MOST, steps + 1)
    return replace(bound, below=below, least=least)
