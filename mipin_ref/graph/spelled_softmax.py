"""A softmax written out: exp(z - max z) over its sum, its logarithm z - log Σ exp z, and the exponential of that; and
what guards one against NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mipin_ref.graph.draft import Draft, Softmax
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import layer_name

COPIES = frozenset({"Reshape", "Expand", "Squeeze", "Unsqueeze", "Identity", "Cast", "Tile"})
"""What stands between a sum and the quotient by it."""
LOG_OF_SUM = "ReduceLogSumExp"


def draft_softmax(node: Node, draft: Draft) -> bool:
    """Draft a Div, a Sub or an Exp as the softmax that it ends, or its logarithm. Returns whether it is one.

    The tensors between stay where others read them.
    """
    if not node.standard:
        return False
    if node.op == "Exp":
        return _exponential(node, draft)
    total, function = _total(node, draft.makers)
    if total is None:
        return False
    powers = node.inputs[0] if function == "LogSoftmax" else draft.makers[node.inputs[0]].inputs[0]
    x = draft.signals.get(_scores(powers, draft.makers))
    if x is None or not x.floating:
        return False
    axes = sorted(axis % len(x.shape) for axis in _axes(total, draft))
    features = [axis for axis, length in enumerate(x.shape) if axis != x.axis and length > 1]
    if x.axis in axes or (len(axes) != 1 and axes != features):
        return False
    whole = {*axes} >= {*features} and not x.folded
    if x.folded and len(axes) != 1:
        return False
    if total.op == LOG_OF_SUM:
        draft.absorbed |= {*total.outputs}
    draft.add(
        Softmax(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=x.sample,
            function=function,
            axis=None if whole else x.inner(axes[0]),
        ),
        axis=x.axis,
        rows=x.rows,
    )
    return True


def _total(node: Node, makers: Mapping[str, Node]) -> tuple[Node | None, str]:
    """The reduction over exp z that a softmax of z, or its logarithm, ends with; and which of the two."""
    if node.op == "Div":
        powers = makers.get(node.inputs[0])
        total = _behind(node.inputs[1], makers, COPIES)
        found = powers is not None and powers.op == "Exp" and total is not None and total.op == "ReduceSum"
        return (total if found and total is not None and total.inputs[0] == node.inputs[0] else None), "Softmax"
    if node.op != "Sub":
        return None, ""
    total, scores = _behind(node.inputs[1], makers, COPIES, ("Log", LOG_OF_SUM)), node.inputs[0]
    if total is not None and total.op == "Log":
        total = _behind(total.inputs[0], makers, COPIES)
        powers = None if total is None or total.op != "ReduceSum" else makers.get(total.inputs[0])
        if powers is None or powers.op != "Exp" or powers.inputs[0] != scores:
            return None, ""
        return total, "LogSoftmax"
    return (total if total is not None and total.inputs[0] == scores else None), "LogSoftmax"


def _exponential(node: Node, draft: Draft) -> bool:
    """Draft the exponential of the logarithm of a softmax as that softmax. Returns whether it is one."""
    x = draft.signals.get(node.inputs[0])
    made = None if x is None else next((layer for layer in draft.layers if layer.output == x.name), None)
    if x is None or not isinstance(made, Softmax) or made.function != "LogSoftmax":
        return False
    name = node.outputs[0]
    same = replace(made, name=layer_name(node), output=name, function="Softmax")
    draft.add(same, axis=x.axis, rows=x.rows)
    draft.signals[name] = replace(x, name=name)
    return True


def draft_guard(node: Node, draft: Draft) -> bool:
    """Draft a Where as x itself that puts a constant where x is NaN, as exporters guard the weights of attention.

    Returns whether it is that.
    """
    if not node.standard or node.op != "Where":
        return False
    asked, kept = draft.makers.get(node.inputs[0]), node.inputs[2]
    if asked is None or asked.op != "IsNaN" or asked.inputs[0] != kept or node.inputs[1] not in draft.constants:
        return False
    if kept not in draft.signals:
        return False
    draft.absorbed |= {*asked.outputs}
    draft.alias_as(node.outputs[0], draft.signals[kept])
    return True


def _scores(name: str, makers: Mapping[str, Node]) -> str:
    """z of z - max z, or of z alone."""
    node = makers.get(name)
    if node is None or node.op != "Sub":
        return name
    largest = _behind(node.inputs[1], makers, COPIES | {"Max", "StopGradient"})
    return node.inputs[0] if largest is not None and largest.inputs[0] == node.inputs[0] else name


def _behind(
    name: str, makers: Mapping[str, Node], through: frozenset[str], ends: tuple[str, ...] = ("ReduceSum", "ReduceMax")
) -> Node | None:
    """The reduction, or what else `ends` tells, that a tensor is made of, through copies of its values and bounds."""
    waiting, seen = [name], set[str]()
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op in ends:
            return node
        if node.op in through:
            waiting.extend(node.inputs if node.op == "Max" else node.inputs[:1])
    return None


def _axes(node: Node, draft: Draft) -> list[int]:
    told = node.attributes.get("axes")
    if told is None and node.input(1) in draft.constants:
        told = draft.constants[node.input(1)].ravel()
    return [] if told is None else [int(axis) for axis in told]
