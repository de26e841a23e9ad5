"""Einsum of two tensors that both depend on the input: a matrix product, whatever the order of the axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from mipin_ref.graph.draft import Draft, Refused
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.equation import moved, spelt
from mipin_ref.graph.ops.registry import draft_as


def of_two(node: Node, draft: Draft, equation: str) -> None:
    """Axes of both and of the output stay around the product, those of both alone are summed over.

    Refused where the equation is of another form.
    """
    x, y, output = _labels(equation, [len(draft.signals[name].shape) for name in node.inputs])
    lengths = [
        dict(zip(one, draft.signals[name].shape, strict=True)) for one, name in zip((x, y), node.inputs, strict=True)
    ]
    around = [label for label in x if label in y and label in output]
    summed = [label for label in x if label in y and label not in output]
    rows = [label for label in x if label not in y]
    columns = [label for label in y if label not in x]
    if any(label not in output for label in (*rows, *columns)):
        raise Refused(f"equation {equation!r} sums over an axis of one operand alone")
    if any(lengths[0][label] != lengths[1][label] for label in summed):
        raise Refused(f"equation {equation!r} does not fit its operands")
    sizes = {label: max(one.get(label, 1) for one in lengths) for label in (*x, *y)}

    def operand(number: int, labels: Sequence[str], first: Sequence[str], last: Sequence[str]) -> str:
        name = moved(
            node, draft, f"order {number}", node.inputs[number], "Transpose", _order(labels, (*around, *first, *last))
        )
        own = [lengths[number][label] for label in around]
        shape = [*own, prod(sizes[label] for label in first), prod(sizes[label] for label in last)]
        return moved(node, draft, f"matrix {number}", name, "Reshape", shape)

    pair = operand(0, x, rows, summed), operand(1, y, summed, columns)
    ends = [*around, *rows, *columns]
    shape = [sizes[label] for label in ends]
    kept, order = len(rows) == len(columns) == 1, _order(ends, output)
    plain = kept and order == [*range(len(order))]
    made = node.outputs[0] if plain else draft.inner_name(node, "product")
    draft_as(node, draft, "MatMul", pair, made)
    if not plain:
        name = moved(node, draft, "places", made, "Reshape", shape)
        name = moved(node, draft, "order", name, "Transpose", order)
        draft_as(node, draft, "Identity", [name], node.outputs[0])


def _order(labels: Sequence[str], wanted: Sequence[str]) -> list[int]:
    return [labels.index(label) for label in wanted]


def _labels(equation: str, ranks: Sequence[int]) -> tuple[list[str], list[str], list[str]]:
    """The labels of both operands and of the output, no one of them twice in any."""
    sides = equation.replace(" ", "").split("->")
    terms = sides[0].split(",")
    if len(sides) != 2 or len(terms) != 2:
        raise Refused(f"equation {equation!r} does not say its output, or is none of two operands")
    widths = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    if any(width < 0 or (width and "..." not in term) for term, width in zip(terms, widths, strict=True)):
        raise Refused(f"equation {equation!r} does not fit operands of {list(ranks)} axes")
    widest = max((width for term, width in zip(terms, widths, strict=True) if "..." in term), default=0)
    x, y = (spelt(term, width, widest) for term, width in zip(terms, widths, strict=True))
    output = spelt(sides[1], widest, widest)
    if any(len({*one}) < len(one) for one in (x, y, output)) or not {*output} <= {*x, *y}:
        raise Refused(f"equation {equation!r} takes a diagonal, or has an output that its operands do not make")
    return x, y, output
