"""Outputs that tell a class instead of scoring it: what they were chosen from is explained."""

from __future__ import annotations

from collections import deque

from onnx import ModelProto, NodeProto

CHOICE_AT = {"Identity": 0, "Cast": 0, "Reshape": 0, "Flatten": 0, "Squeeze": 0, "Unsqueeze": 0} | {
    "ArrayFeatureExtractor": 1
}
"""Operators behind an ArgMax that leave it the choice, with the input that carries it."""


CHOOSES = {"ArgMax": 0, "ArgMin": 0, "TopK": 0, "ZipMap": 0, "NonMaxSuppression": 1}
"""Operators that choose by scores, with the input that holds these."""


def scores_behind(proto: ModelProto, output: str) -> str:
    """The tensor whose largest entry an output names, by ArgMax and what hands its choice on; else the output itself.

    An ArgMax over the first axis compares samples, and is not meant.
    """
    made_by: dict[str, NodeProto] = {name: node for node in proto.graph.node for name in node.output}
    name, seen = output, set[str]()
    while name in made_by and name not in seen:
        seen.add(name)
        node = made_by[name]
        if node.op_type == "ArgMax":
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            return str(node.input[0]) if axis else output
        slot = CHOICE_AT.get(node.op_type)
        if slot is None or slot >= len(node.input):
            break
        name = node.input[slot]
    return output


def scores_in_front(proto: ModelProto, output: str) -> list[str]:
    """The scores by which nodes in front of an output choose, nearest first: what could be explained in its place."""
    made_by: dict[str, NodeProto] = {name: node for node in proto.graph.node for name in node.output}
    found, seen, waiting = list[str](), {output}, deque([output])
    while waiting:
        node = made_by.get(waiting.popleft())
        if node is None:
            continue
        slot = CHOOSES.get(node.op_type)
        if slot is not None and slot < len(node.input):
            if node.input[slot] in made_by and node.input[slot] not in found:
                found.append(node.input[slot])
            continue
        for name in node.input:
            if name and name not in seen:
                seen.add(name)
                waiting.append(name)
    return found


def proposal(proto: ModelProto, output: str) -> str:
    """How to explain the scores in front of an output that holds none; empty where no node there chooses by any."""
    found = scores_in_front(proto, output)
    if not found:
        return ""
    chooser = next(node.op_type for node in proto.graph.node if found[0] in node.input and node.op_type in CHOOSES)
    return f"{chooser} chooses {output!r} by the scores {found[0]!r}, which option 'output' takes"
