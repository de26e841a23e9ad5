"""What several nodes of a file stand for together, so that a message can call it by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mipin_ref.graph.node import Node

DEVIATION = {"Sqrt", "Add", "ReduceMean", "Pow", "Mul", "Cast", "Identity", "Reciprocal"}
"""Operators between a value less its mean and what it is divided by."""

LONGEST = 16
"""Nodes of one normalisation, at most: a file may hold thousands in a row of these operators."""


def normalisations(nodes: Sequence[Node]) -> Mapping[int, str]:
    """Which nodes are parts of a layer normalisation written out: place of each -> output of the last of them.

    That is (x - mean(x)) / sqrt(mean((x - mean(x))²) + ε), with a Mul by the reciprocal in place of the Div too.
    """
    made = {name: place for place, node in enumerate(nodes) for name in node.outputs if name}
    parts: dict[int, str] = {}
    for place, node in enumerate(nodes):
        for slot in {"Div": (1,), "Mul": (0, 1)}.get(node.op, ()):
            scale = made.get(node.input(slot))
            if scale is None or (node.op == "Mul" and nodes[scale].op != "Reciprocal"):
                continue
            centred = made.get(node.input(1 - slot))
            if centred is None or nodes[centred].op != "Sub":
                continue
            found = _deviation(nodes, made, scale)
            if centred in found:
                parts.update(dict.fromkeys([*found, place], node.name or node.outputs[0]))
    return parts


def _deviation(nodes: Sequence[Node], made: Mapping[str, int], last: int) -> set[int]:
    """The places of the nodes that make a standard deviation, the mean and its subtraction among them; else none."""
    found, waiting = set[int](), [last]
    while waiting and len(found) <= LONGEST:
        place = waiting.pop()
        node = nodes[place]
        if place in found or node.op not in {*DEVIATION, "Sub"}:
            continue
        found.add(place)
        # In front of the subtraction is what is normalised; its mean is a part.
        read = [node.input(1)] if node.op == "Sub" else [] if _is_subtracted(node, nodes, found) else node.inputs
        waiting += [made[name] for name in read if name in made]
    if waiting:
        return set()
    operators = {nodes[place].op for place in found}
    return found if {"Sqrt", "Sub", "ReduceMean"} <= operators and operators & {"Pow", "Mul"} else set()


def _is_subtracted(node: Node, nodes: Sequence[Node], found: set[int]) -> bool:
    """Whether a node is the mean that a subtraction among those found takes away."""
    subtractions = [nodes[place] for place in found if nodes[place].op == "Sub"]
    return node.op == "ReduceMean" and any(one.input(1) in node.outputs for one in subtractions)
