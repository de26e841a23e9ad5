"""Einsum of a tensor and a constant: a matrix product, whatever the order of the axes (method, section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.einsum_of_two import of_three, of_two
from mipin_ref.graph.ops.equation import moved, spelt
from mipin_ref.graph.ops.registry import draft_as, handles
from mipin_ref.layers import HostArray


@handles("Einsum")
def einsum(node: Node, draft: Draft) -> None:
    """The features are the axes that are summed over, all together; what the constant adds stands where it is told."""
    signals = [place for place, name in enumerate(node.inputs) if name in draft.signals]
    if len(signals) == len(node.inputs) == 2:
        of_two(node, draft, str(node.attributes["equation"]))
        return
    if len(signals) == len(node.inputs) == 3:
        of_three(node, draft, str(node.attributes["equation"]))
        return
    if len(signals) > 1:
        raise Refused(
            f"it multiplies {len(signals)} of {len(node.inputs)} operands that depend on the input; two or three "
            "that do are read without others"
        )
    if len(node.inputs) > 2:
        raise Refused(f"it multiplies {len(node.inputs)} operands; a tensor and one constant are read")
    x = draft.signals[node.inputs[signals[0]]]
    constants = [name for name in node.inputs if name not in draft.signals]
    weight = draft.weight(constants[0]) if constants else np.ones((), draft.dtype)
    of_x, of_weight, output = _labels(str(node.attributes["equation"]), signals[0], x, weight)
    lengths = dict(zip(of_x, x.shape, strict=True))
    batch = of_x[x.axis]
    if batch not in output:
        raise Refused("it contracts over the batch")
    weight, of_weight = _summed(weight, of_weight, of_x, output)
    weight, of_weight = _without_ones(weight, of_weight, lengths, output)
    for label, length in zip(of_weight, weight.shape, strict=True):
        if lengths.get(label, length) != length:
            raise Refused(f"weight {weight.shape} does not fit {readable(x.shape)}")
    contracted = [label for label in of_x if label not in output]
    kept = [label for label in of_x if label in output]
    added = [label for label in output if label not in of_x]
    if any(label in of_weight for label in kept):
        if contracted or added or batch in of_weight:
            raise Refused(f"a product of {readable(x.shape)} with another matrix at each place")
        _scaled(node, draft, node.inputs[signals[0]], weight, (of_x, of_weight, output))
        return
    matrix = _matrix(weight, of_weight, contracted, added, lengths)
    _product(node, draft, node.inputs[signals[0]], matrix, (of_x, kept, contracted, added, output), weight, of_weight)


Labels = Sequence[str]


def _labels(equation: str, place: int, x: Signal, weight: HostArray) -> tuple[list[str], list[str], list[str]]:
    """The labels of the tensor, of the constant and of the output; an ellipsis is spelt out by upper-case numbers."""
    sides = equation.replace(" ", "").split("->")
    terms = sides[0].split(",")
    if len(sides) > 2 or len(terms) not in (1, 2):
        raise Refused(f"equation {equation!r} is none of one tensor and one constant")
    ranks = [0, 0]
    ranks[place], ranks[1 - place] = len(x.shape), weight.ndim
    widths = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=False)]
    if any(width < 0 or (width and "..." not in term) for term, width in zip(terms, widths, strict=True)):
        raise Refused(f"equation {equation!r} does not fit operands of {ranks[: len(terms)]} axes")
    widest = max((width for term, width in zip(terms, widths, strict=True) if "..." in term), default=0)
    labels = [spelt(term, width, widest) for term, width in zip(terms, widths, strict=True)]
    if any(len({*term}) < len(term) for term in labels):
        raise Refused(f"equation {equation!r} takes a diagonal")
    if len(sides) == 2:
        output = spelt(sides[1], widest, widest)
    else:
        every = [label for term in labels for label in term]
        once = sorted(label for label in {*every} if every.count(label) == 1 and not label.startswith("."))
        output = spelt("..." if widest else "", widest, widest) + once
    other = labels[1 - place] if len(labels) > 1 else []
    unknown = {*output} - {*labels[place], *other}
    if unknown or len({*output}) < len(output):
        raise Refused(f"equation {equation!r} has an output that its operands do not make")
    return labels[place], other, output


def _summed(weight: HostArray, labels: Labels, of_x: Labels, output: Labels) -> tuple[HostArray, list[str]]:
    """The constant, summed over what neither the tensor nor the output has."""
    over = tuple(axis for axis, label in enumerate(labels) if label not in of_x and label not in output)
    kept = [label for label in labels if label in of_x or label in output]
    return (weight.sum(axis=over) if over else weight), kept


def _without_ones(
    weight: HostArray, labels: Labels, lengths: dict[str, int], output: Labels
) -> tuple[HostArray, list[str]]:
    """The constant without axes of length one that it shares with the tensor: it is the same at all its places."""
    gone = tuple(a for a, label in enumerate(labels) if weight.shape[a] == 1 and label in lengths)
    return np.squeeze(weight, axis=gone), [label for axis, label in enumerate(labels) if axis not in gone]


def _matrix(weight: HostArray, labels: Labels, contracted: Labels, added: Labels, lengths: dict[str, int]) -> HostArray:
    """The constant as [summed over, added]; over what it does not have, the tensor is summed."""
    wanted = [*contracted, *added]
    moved = np.transpose(weight, [labels.index(label) for label in wanted if label in labels])
    places = [slice(None) if label in labels else None for label in wanted]
    shape = [lengths[label] for label in contracted] + [weight.shape[labels.index(label)] for label in added]
    spread = np.broadcast_to(moved[tuple(places)], shape)
    return np.ascontiguousarray(spread.reshape(prod(shape[: len(contracted)]), -1))


def _product(
    node: Node,
    draft: Draft,
    name: str,
    matrix: HostArray,
    order: tuple[Labels, Labels, Labels, Labels, Labels],
    weight: HostArray,
    of_weight: Labels,
) -> None:
    """Bring the features to the end, multiply, and bring the axes to the order of the output."""
    of_x, kept, contracted, added, output = order
    x = draft.signals[name]
    sizes = dict(zip(of_x, x.shape, strict=True)) | dict(zip(of_weight, weight.shape, strict=True))
    rows = [sizes[label] for label in kept]
    name = moved(node, draft, "front", name, "Transpose", [of_x.index(label) for label in (*kept, *contracted)])
    name = moved(node, draft, "features", name, "Reshape", [*rows, matrix.shape[0]])
    if not contracted and not added:
        draft_as(node, draft, "Identity", [_ordered(node, draft, name, kept, rows, output)], node.outputs[0])
        return
    factor, made = draft.inner_name(node, "weight"), draft.inner_name(node, "product")
    draft.constants[factor] = matrix
    draft_as(node, draft, "MatMul", [name, factor], made)
    ends = [*kept, *added]
    name = moved(node, draft, "places", made, "Reshape", [sizes[label] for label in ends])
    name = moved(node, draft, "order", name, "Transpose", [ends.index(label) for label in output])
    draft_as(node, draft, "Identity", [name], node.outputs[0])


def _ordered(node: Node, draft: Draft, name: str, kept: Labels, rows: Sequence[int], output: Labels) -> str:
    name = moved(node, draft, "places", name, "Reshape", rows)
    return moved(node, draft, "order", name, "Transpose", [kept.index(label) for label in output])


def _scaled(node: Node, draft: Draft, name: str, weight: HostArray, order: tuple[Labels, Labels, Labels]) -> None:
    """A constant factor, and the axes in another order."""
    of_x, of_weight, output = order
    kept = [label for label in of_x if label in of_weight]
    turned = np.transpose(weight, [of_weight.index(label) for label in kept])
    shape = [turned.shape[kept.index(label)] if label in kept else 1 for label in of_x]
    factor, made = draft.inner_name(node, "factor"), draft.inner_name(node, "scaled")
    draft.constants[factor] = turned.reshape(shape)
    draft_as(node, draft, "Mul", [name, factor], made)
    name = moved(node, draft, "order", made, "Transpose", [of_x.index(label) for label in output])
    draft_as(node, draft, "Identity", [name], node.outputs[0])
