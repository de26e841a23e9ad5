"""Outputs that tell a class instead of scoring it, or score it alone: what they are taken from is explained."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from onnx import ModelProto, NodeProto, shape_inference

from mipin_ref.graph.nodes import Nodes, told_of
from mipin_ref.graph.told import labels_of

CHOICE_AT = {"Identity": 0, "Cast": 0, "Reshape": 0, "Flatten": 0, "Squeeze": 0, "Unsqueeze": 0} | {
    "ArrayFeatureExtractor": 1
}
"""Operators behind an ArgMax that leave it the choice, with the input that carries it."""


CHOOSES = {"ArgMax": 0, "ArgMin": 0, "TopK": 0, "ZipMap": 0, "NonMaxSuppression": 1}
"""Operators that choose by scores, with the input that holds these."""


HANDS_ON = frozenset({"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout"})
"""Operators behind a column that leave it one."""

PROBABILITIES = frozenset({"Softmax", "LogSoftmax", "Normalizer", "Sigmoid"})
"""Operators whose outputs are probabilities of classes."""

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN", "Attention"})
"""Operators in front of which nothing is a part of the output any more."""


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


def column_of(proto: ModelProto, output: str) -> tuple[str, int] | None:
    """The tensor [N, C] that an output is one column of, and which; None where it is none."""
    made_by = {name: node for node in proto.graph.node for name in node.output}
    name, seen = output, set[str]()
    while name in made_by and name not in seen and made_by[name].op_type in HANDS_ON:
        seen.add(name)
        name = made_by[name].input[0]
    node = made_by.get(name)
    if node is None or not node.input:
        return None
    if node.op_type == "Slice":
        column = _sliced(Nodes(proto), node)
    elif node.op_type in ("Gather", "ArrayFeatureExtractor"):
        picked = Nodes(proto).whole(node.input[1])
        along = node.op_type != "Gather" or told_of(node, "axis", 0) in (1, -1)
        column = picked[0] if along and picked is not None and len(picked) == 1 else None
    else:
        return None
    return None if column is None or column < 0 else (node.input[0], column)


def _sliced(nodes: Nodes, node: NodeProto) -> int | None:
    """The one column of axis 1 that a Slice takes."""
    if len(node.input) > 2:
        begin, end, axes, steps = (nodes.whole(name) for name in (*node.input[1:], "", "")[:4])
    else:
        begin, end, axes = (told_of(node, name) for name in ("starts", "ends", "axes"))
        steps = None
    if not begin or not end or len(begin) != 1 or (steps is not None and [*steps] != [1]):
        return None
    return int(begin[0]) if axes is not None and [*axes] in ([1], [-1]) and end[0] == begin[0] + 1 else None


def columns_of(proto: ModelProto, outputs: Sequence[str]) -> str | None:
    """The tensor of which several outputs are all the columns, one each, in their order; None where there is none."""
    columns = [column_of(proto, name) for name in outputs]
    whole = {one[0] for one in columns if one is not None}
    numbers = [one[1] for one in columns if one is not None]
    if len(whole) != 1 or len(outputs) < 2 or numbers != [*range(len(outputs))]:
        return None
    (name,) = whole
    width = _width(proto, name)
    known = width == len(outputs) if width is not None else bool(labels_of(proto, len(outputs)))
    return name if known else None


def _width(proto: ModelProto, name: str) -> int | None:
    """The length of the last axis of a tensor [N, C], 0 of another, None where onnx cannot tell."""
    for value in shape_inference.infer_shapes(proto).graph.value_info:
        if value.name == name:
            lengths = value.type.tensor_type.shape.dim
            # Of other than [N, C] columns are no classes.
            return int(lengths[-1].dim_value) or None if len(lengths) == 2 else 0
    return None


def probabilities_in_front(proto: ModelProto, output: str) -> list[str]:
    """The probabilities of which an output is computed without weights, nearest first."""
    made_by: dict[str, NodeProto] = {name: node for node in proto.graph.node for name in node.output}
    nearest, seen, waiting = list[str](), {output}, deque([output])
    while waiting:
        name = waiting.popleft()
        node = made_by.get(name)
        if node is None or node.op_type in WEIGHTED:
            continue
        if node.op_type in PROBABILITIES or _classifies(node):
            if name != output:
                nearest.append(name)
            # What a sum of single classes is brought to one of is no head.
            if node.op_type != "Normalizer" or not _classifies(made_by.get(node.input[0])):
                continue
        waiting.extend(one for one in node.input if one and one not in seen)
        seen.update(node.input)
    return nearest


def _undivided(name: str, made_by: Mapping[str, NodeProto]) -> str:
    """What a Normalizer divides where it makes a tensor, else the tensor."""
    node = made_by.get(name)
    return name if node is None or node.op_type != "Normalizer" else node.input[0]


def _classifies(node: NodeProto | None) -> bool:
    return node is not None and node.op_type == "LinearClassifier"


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
            scores = _undivided(node.input[slot], made_by)
            if scores in made_by and scores not in found:
                found.append(scores)
            continue
        for name in node.input:
            if name and name not in seen:
                seen.add(name)
                waiting.append(name)
    return found


def proposal(proto: ModelProto, output: str) -> str:
    """How to explain the scores in front of an output that holds none; empty where no node there chooses by any."""
    found = scores_in_front(proto, output)
    if not found and (chances := probabilities_in_front(proto, output)):
        column = column_of(proto, output)
        which = f", target {column[1]}" if column is not None and column[0] == chances[0] else ""
        return (
            f"explain the probabilities {chances[0]!r} that {output!r} is made of, which option 'output' takes{which}"
        )
    if not found:
        return ""
    made_by = {name: node for node in proto.graph.node for name in node.output}
    choosers = (
        (node.op_type, node.input[CHOOSES[node.op_type]]) for node in made_by.values() if node.op_type in CHOOSES
    )
    chooser = next(op for op, scores in choosers if _undivided(scores, made_by) == found[0])
    return f"{chooser} chooses {output!r} by the scores {found[0]!r}, which option 'output' takes"
