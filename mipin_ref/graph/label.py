"""Outputs that tell a class instead of scoring it: what they were chosen from is explained."""

from __future__ import annotations

from onnx import ModelProto, NodeProto

CHOICE_AT = {"Identity": 0, "Cast": 0, "Reshape": 0, "Flatten": 0, "Squeeze": 0, "Unsqueeze": 0} | {
    "ArrayFeatureExtractor": 1
}
"""Operators behind an ArgMax that leave it the choice, with the input that carries it."""


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
