"""What each operator makes of a tensor that is normalised, or of what was made of it before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isclose, prod
from typing import Any

import numpy as np

from mipin_ref.graph.draft import BATCH, Draft
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.shape import resolved_axes
from mipin_ref.graph.spelled import Spelled
from mipin_ref.layers import Divisor, HostArray

Made = Spelled | None
Operand = Spelled | HostArray


def _scalar(value: Any) -> float | None:
    if value is None or isinstance(value, Spelled) or value.size != 1 or value.dtype.kind not in "fiu":
        return None
    found = float(value.reshape(-1)[0])
    return found if np.isfinite(found) else None


def _is_constant(value: Any) -> bool:
    return (
        value is not None
        and not isinstance(value, Spelled)
        and value.dtype.kind == "f"
        and bool(np.all(np.isfinite(value)))
    )


def _reduced(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    x = operands[0]
    if not isinstance(x, Spelled) or not x.whole:
        return None
    axes = np.asarray(node.attributes["axes"]) if "axes" in node.attributes else (operands[1:] or [None])[0]
    rank = len(x.of.shape)
    if node.op == "GlobalAveragePool":
        # As tf2onnx writes the mean over the last of three axes.
        axes = np.arange(2, rank)
    over = frozenset(range(rank) if axes is None else resolved_axes(axes, rank))
    if not over:
        return None
    of, whole = x.of, bool(node.attributes.get("keepdims", 1))
    found = replace(x, over=over, whole=whole, what="sum")
    count = prod(of.shape[axis] for axis in over)
    if node.op in ("ReduceMean", "GlobalAveragePool", "ReduceSum"):
        factor = 1.0 if node.op == "ReduceSum" else 1 / count
        if x.what == "itself":
            return replace(found, term="itself", factor=factor)
        if x.what in ("square", "absolute") and (not x.centred or x.over == over):
            return replace(found, term=x.what, factor=factor)
        return None
    if x.what not in ("itself", "centred") or (x.what == "centred" and x.over != over):
        return None
    found = replace(found, centred=x.what == "centred")
    if node.op == "ReduceSumSquare":
        return replace(found, term="square", factor=1.0)
    if node.op == "ReduceL2":
        return replace(found, what="divisor", rooted=True, divisor=Divisor())
    return replace(found, what="divisor", rooted=True, divisor=Divisor(order=1))


def _times(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    a, b = operands
    for one, other in ((a, b), (b, a)):
        if not isinstance(one, Spelled):
            continue
        by = _scalar(other)
        if one.what == "sum" and by is not None and by:
            return replace(one, factor=one.factor * by)
        if one.what == "inverse" and _is_constant(other):
            return replace(one, scale=other if one.scale is None else one.scale * other)
        if one.what == "shifted mean" and by == -1 and one.shift is None:
            return replace(one, factor=-one.factor)
        if not isinstance(other, Spelled) or not one.like(other):
            continue
        if one.what == "inverse" and one.whole:
            if other.what == "itself" and not one.centred:
                return replace(one, what="normed")
            if other.what == "centred" and one.centred and other.over == one.over:
                return replace(one, what="normed")
            if other.what == "itself":
                return replace(one, what="unfinished")
            if other.what == "sum" and other.over == one.over and other.whole and one.centred:
                sign = 1.0 if other.is_mean else -1.0 if replace(other, factor=-other.factor).is_mean else 0.0
                return replace(one, what="shifted mean", factor=sign) if sign else None
    if isinstance(a, Spelled) and isinstance(b, Spelled):
        return _product_of_like(a, b)
    return None


def _product_of_like(a: Spelled, b: Spelled) -> Made:
    if not a.like(b) or a.what != b.what:
        return None
    if a.what == "itself" or (a.what == "centred" and a.over == b.over):
        return replace(a, what="square", centred=a.what == "centred")
    if a.is_mean and b.is_mean and a.over == b.over and a.whole == b.whole:
        return replace(a, what="mean²")
    return None


def _over(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    a, b = operands
    if isinstance(a, Spelled):
        by = _scalar(b)
        if a.what in ("sum", "shifted mean") and by:
            return _times(node, draft, [a, np.asarray(1 / by)])
        divisor = _squares(b)
        return _times(node, draft, [a, replace(divisor, what="inverse")]) if divisor and divisor.rooted else None
    divisor = _squares(b)
    if divisor is not None and divisor.rooted and _is_constant(a):
        return replace(divisor, what="inverse", scale=None if np.all(a == 1) else a)
    return None


def _power(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    x, exponent = operands[0], _scalar(operands[1])
    if not isinstance(x, Spelled):
        return None
    if exponent == 2:
        return _product_of_like(x, x)
    if exponent == 0.5:
        return _root(node, draft, [x])
    if exponent == -0.5:
        drawn = _root(node, draft, [x])
        return None if drawn is None else replace(drawn, what="inverse")
    if exponent == -1:
        return _reciprocal(node, draft, [x])
    return None


def _squares(x: Any) -> Made:
    """A sum of squares as the divisor that it is before its root is drawn."""
    if not isinstance(x, Spelled):
        return None
    if x.what == "divisor":
        return x
    if x.what == "sum" and x.term == "square" and x.factor > 0:
        return replace(x, what="divisor", divisor=Divisor(factor=x.factor))
    if x.what == "sum" and x.term == "absolute" and x.factor > 0:
        return replace(x, what="divisor", rooted=True, divisor=Divisor(order=1, factor=x.factor))
    return None


def _root(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    found = _squares(operands[0])
    return None if found is None or found.rooted else replace(found, rooted=True)


def _reciprocal(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    found = _squares(operands[0])
    return None if found is None or not found.rooted else replace(found, what="inverse")


def _plus(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    if len(operands) != 2:
        return None
    a, b = operands
    for one, other in ((a, b), (b, a)):
        if not isinstance(one, Spelled):
            continue
        by = _scalar(other)
        if by is not None and by >= 0 and (found := _squares(one)) is not None:
            return _lifted(found, by)
        if one.what == "shifted mean" and one.factor == -1 and _is_constant(other):
            return replace(one, shift=other if one.shift is None else one.shift + other)
        if isinstance(other, Spelled) and one.like(other):
            if one.what == "itself" and other.what == "sum" and replace(other, factor=-other.factor).is_mean:
                return _centred(one, other)
            if one.what == "unfinished" and other.what == "shifted mean" and other.factor == -1:
                return _finished(one, other)
    return None


def _lifted(found: Spelled, by: float) -> Made:
    one = found.divisor
    if found.rooted and one.order == 2:
        return replace(found, divisor=replace(one, offset=one.offset + by))
    if one.floor or one.offset:
        return None
    if found.rooted:
        return replace(found, divisor=replace(one, epsilon=one.epsilon + by))
    return replace(found, divisor=replace(one, epsilon=one.epsilon + by))


def _centred(x: Spelled, mean: Spelled) -> Made:
    return replace(x, what="centred", over=mean.over, centred=True) if mean.whole else None


def _finished(product: Spelled, mean: Spelled) -> Made:
    """x · inverse - mean · inverse + shift."""
    same = product.divisor == mean.divisor and product.over == mean.over
    scales = (product.scale, mean.scale)
    if not same or (scales[0] is None) != (scales[1] is None):
        return None
    if scales[0] is not None and not np.array_equal(scales[0], scales[1]):  # type: ignore[arg-type]
        return None
    return replace(product, what="normed", centred=True, shift=mean.shift)


def _minus(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    a, b = operands
    if isinstance(b, Spelled) and b.what == "shifted mean" and b.factor == 1 and b.shift is None and _is_constant(a):
        return replace(b, factor=-1.0, shift=a)
    if not isinstance(a, Spelled) or not isinstance(b, Spelled) or not a.like(b):
        return None
    if a.what == "itself" and b.is_mean:
        return _centred(a, b)
    if a.what == "unfinished" and b.what == "shifted mean" and b.factor == 1 and b.shift is None:
        return _finished(a, b)
    squares = a.what == "sum" and a.term == "square" and not a.centred
    if squares and b.what == "mean²" and a.over == b.over and a.whole == b.whole:
        # The mean of squares without the square of the mean is that of the squares without it.
        mean = isclose(a.factor * a.count, 1.0, rel_tol=1e-5)
        return replace(a, centred=True) if mean else None
    return None


def _negative(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    x = operands[0]
    if not isinstance(x, Spelled):
        return None
    if x.what == "sum" or (x.what == "shifted mean" and x.shift is None):
        return replace(x, factor=-x.factor)
    return None


def _absolute(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    x = operands[0]
    if not isinstance(x, Spelled):
        return None
    if x.what in ("itself", "centred"):
        return replace(x, what="absolute", centred=x.what == "centred")
    # A variance is none the less for it.
    return x if x.what == "sum" and x.term == "square" else None


def _at_least(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    if node.op == "Clip":
        high = node.attributes.get("max", operands[2] if len(operands) > 2 else None)
        low = np.asarray(node.attributes["min"]) if "min" in node.attributes else (operands[1:] or [None])[0]
        if low is None or (high is not None and float(np.asarray(high).reshape(-1)[0]) < 1e30):
            return None
        operands = [operands[0], low]
    if node.op == "Relu":
        operands = [operands[0], np.zeros((), np.float32)]
    if len(operands) != 2:
        return None
    for one, other in (operands, operands[::-1]):
        if not isinstance(one, Spelled):
            continue
        by, found = _scalar(other), _squares(one)
        if by is None or found is None:
            continue
        if by <= 0:
            # Sums of squares are not negative.
            return one
        if found.divisor.offset or found.divisor.floor:
            return None
        floor = by if found.rooted else float(np.sqrt(by))
        return replace(found, divisor=replace(found.divisor, floor=floor))
    return None


def _spread(node: Node, draft: Draft, operands: Sequence[Any]) -> Made:
    """Axes that a sum has lost come back, or those that it kept are spread."""
    x = operands[0]
    if not isinstance(x, Spelled) or x.what not in ("sum", "mean²", "divisor", "inverse", "shifted mean"):
        return None
    rank = len(x.of.shape)
    if node.op == "Unsqueeze":
        axes = np.asarray(node.attributes["axes"]) if "axes" in node.attributes else operands[1]
        given = rank if x.whole else rank - len(x.over)
        if x.whole or given + np.size(axes) != rank or frozenset(resolved_axes(axes, rank)) != x.over:
            return None
        return replace(x, whole=True)
    wanted = [int(d) for d in np.ravel(operands[1])]
    full = x.of.shape
    if node.op == "Expand":
        fits = len(wanted) == rank and all(
            d in (1, full[axis], -1) or _batch(d, draft) for axis, d in enumerate(wanted)
        )
        return x if x.whole and fits else None
    kept = [1 if axis in x.over else d for axis, d in enumerate(full)]
    fits = len(wanted) == rank and all(
        d == k or d in (-1, 0) or (k == BATCH and _batch(d, draft)) for d, k in zip(wanted, kept, strict=True)
    )
    return replace(x, whole=True) if fits and all(wanted[axis] == 1 for axis in x.over) else None


def _batch(length: int, draft: Draft) -> bool:
    return length in (BATCH, draft.file_batch)


Rule = Callable[[Node, Draft, Sequence[Any]], Made]
RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("ReduceMean", "GlobalAveragePool", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2"), _reduced
    ),
    **dict.fromkeys(("Max", "Clip", "Relu"), _at_least),
    **dict.fromkeys(("Unsqueeze", "Reshape", "Expand"), _spread),
    "Mul": _times,
    "Div": _over,
    "Pow": _power,
    "Sqrt": _root,
    "Reciprocal": _reciprocal,
    "Add": _plus,
    "Sum": _plus,
    "Sub": _minus,
    "Neg": _negative,
    "Abs": _absolute,
}
"""What an operator makes of its operands; None where that is nothing of a normalisation."""
