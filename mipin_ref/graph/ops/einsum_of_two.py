"""Einsum of two tensors that both depend on the input: a matrix product, whatever the order of the axes; of three: the
product of the first two, and that of it with the third.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    if not summed and not (rows and columns):
        _by_element(node, draft, (x, y), output, lengths)
        return

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


def of_three(node: Node, draft: Draft, equation: str) -> None:
    """What the third operand and the output have of the axes of the first two is what their product keeps."""
    sides = equation.replace(" ", "").split("->")
    terms = sides[0].split(",")
    if len(sides) != 2 or len(terms) != 3 or "." in equation:
        raise Refused(f"equation {equation!r} does not say its output, or has an ellipsis")
    kept = "".join(label for label in dict.fromkeys(terms[0] + terms[1]) if label in terms[2] + sides[1])
    name = draft.inner_name(node, "first product")
    draft_as(node, draft, "Einsum", node.inputs[:2], name, {"equation": f"{terms[0]},{terms[1]}->{kept}"})
    last = {"equation": f"{kept},{terms[2]}->{sides[1]}"}
    draft_as(node, draft, "Einsum", [name, node.inputs[2]], node.outputs[0], last)


def _by_element(
    node: Node,
    draft: Draft,
    labels: tuple[Sequence[str], Sequence[str]],
    output: Sequence[str],
    lengths: Sequence[Mapping[str, int]],
) -> None:
    """Nothing is summed, and one operand has all axes: a product of elements, the other broadcast."""
    pair = []
    for number, (one, own) in enumerate(zip(labels, lengths, strict=True)):
        order = [one.index(label) for label in output if label in one]
        name = moved(node, draft, f"order {number}", node.inputs[number], "Transpose", order)
        wide = [own.get(label, 1) for label in output]
        pair.append(moved(node, draft, f"wide {number}", name, "Reshape", wide))
    draft_as(node, draft, "Mul", pair, node.outputs[0])


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
