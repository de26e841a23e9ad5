"""scikit-learn's binary classifiers end in [1 - sigmoid(z), sigmoid(z)]: the Sigmoids of [-z, z], written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mipin_ref.graph.node import Node
from mipin_ref.layers import HostArray as Array

OP = "TwoClassSigmoid"

PASSING = {"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "ZipMap", "Log", "Clip"}
"""Operators that may follow the end of a classifier."""

ASKING = {"Shape", "Size"}
"""Operators that read no value."""


def join_two_class(nodes: list[Node], constants: Mapping[str, Array]) -> list[Node]:
    """Replace a final Sigmoid -> (1 - p) -> Concat by one node of operator OP; other graphs come back unchanged."""
    made_by = {name: node for node in nodes for name in node.outputs}
    for concat in nodes:
        if concat.op != "Concat" or len(concat.inputs) != 2 or concat.attributes.get("axis") not in (1, -1):
            continue
        complement, sigmoid = (made_by.get(name) for name in concat.inputs)
        if complement is None or sigmoid is None or (complement.op, sigmoid.op) != ("Sub", "Sigmoid"):
            continue
        one = constants.get(complement.inputs[0])
        if complement.inputs[1] != sigmoid.outputs[0] or one is None or not np.all(one == 1):
            continue
        readers = [n for n in nodes if {sigmoid.outputs[0], complement.outputs[0]}.intersection(n.inputs)]
        others = [n for n in readers if n is not complement and n is not concat]
        if any(n.op not in ASKING for n in others) or not _ends(nodes, concat):
            continue
        joined = replace(concat, op=OP, inputs=sigmoid.inputs)
        gone = [] if others else [complement, sigmoid]
        return [joined if n is concat else n for n in nodes if not any(n is one for one in gone)]
    return nodes


def _ends(nodes: list[Node], last: Node) -> bool:
    """Whether nothing is computed from the outputs of `last`."""
    behind = set(last.outputs)
    for node in nodes:
        if behind.intersection(node.inputs):
            if node.op in ASKING:
                continue
            if node.op not in PASSING:
                return False
            behind.update(node.outputs)
    return True
