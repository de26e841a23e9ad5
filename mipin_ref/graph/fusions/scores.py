"""The part that onnxruntime's attention operators have in common: heads, scores, masks, weights, their mixture."""

from __future__ import annotations

from typing import Any

import numpy as np

from mipin_ref.graph.fusions.writer import Unwritten, Writer

HEADS = (0, 2, 1, 3)
"""[N, T, heads, d] <-> [N, heads, T, d]."""
FILTER = -1e4
"""What onnxruntime adds to the scores of a masked token where nothing else is said.

To those of a later token it adds the lowest number there is: a token whose whole past is masked reads that past.
"""


def parted(writer: Writer, name: str, heads: int, role: str) -> str:
    """[N, T, heads · d] as [N, heads, T, d]."""
    apart = writer.node("Reshape", name, writer.whole(f"{role} heads", 0, 0, heads, -1), role=f"{role} parted")
    return writer.node("Transpose", apart, role=f"{role} turned", perm=HEADS)


def attend(
    writer: Writer,
    tensors: tuple[str, str, str],
    dtype: np.dtype[Any],
    *,
    mask: str,
    bias: str,
    causal: bool,
    output: str,
) -> None:
    """softmax(Q Kᵀ · scale + masks) V of [N, heads, T, d] each, as [N, T, heads · d].

    mask: which keys are read, in the forms of `allowed`; bias: what is added to the scores besides.
    """
    query, key, value = tensors
    turned = writer.node("Transpose", key, role="keys turned", perm=(0, 1, 3, 2))
    scores = writer.node("MatMul", query, turned, role="scores")
    # Of onnxruntime's own operators a scale of zero stands for the usual one.
    if scale := float(writer.attributes.get("scale", 0.0)):
        scores = writer.node("Mul", scores, writer.number("scale", scale, dtype), role="scaled")
    else:
        width = writer.node("Cast", writer.length(query, 3, "width"), role="width number", to=_kind(dtype))
        scores = writer.node("Div", scores, writer.node("Sqrt", width, role="width root"), role="scaled")
    filtered = writer.number("filter", float(writer.attributes.get("mask_filter_value", FILTER)), dtype)
    if mask:
        shut = writer.node("Not", allowed(writer, mask, query, key), role="shut")
        scores = _added(writer, scores, shut, filtered, dtype, "masked")
    if causal:
        rows = writer.over("Unsqueeze", _places(writer, query, "rows"), (1,), "rows beside")
        later = writer.node("Less", rows, _places(writer, key, "columns"), role="later")
        lowest = writer.number("lowest", float(np.finfo(dtype).min), dtype)
        scores = _added(writer, scores, later, lowest, dtype, "causal")
    if bias:
        scores = writer.node("Add", scores, bias, role="biased")
    weights = writer.node("Softmax", scores, role="weights", axis=-1)
    mixed = writer.node("MatMul", weights, value, role="mixed")
    back = writer.node("Transpose", mixed, role="mixed turned", perm=HEADS)
    writer.node("Reshape", back, writer.whole("joined", 0, 0, -1), role="output", out=output)


def allowed(writer: Writer, mask: str, query: str, key: str) -> str:
    """Which keys a query may read, as booleans that broadcast to [N, heads, queries, keys].

    mask: numbers above zero for keys that are read, [N, keys] or [N, queries, keys]; or by sample how many there are,
    [N], or where they end and where they start, [2 · N].
    """
    rank = writer.around.rank(mask)
    if rank in (2, 3):
        zero = writer.node("Sub", mask, mask, role="mask zero")
        open_ = writer.node("Greater", mask, zero, role="mask open")
        return writer.over("Unsqueeze", open_, (1, 2) if rank == 2 else (1,), "mask beside")
    if rank != 1:
        axes = "an unknown number of" if rank is None else rank
        raise Unwritten(f"its mask {mask!r} has {axes} axes; followed are 1, 2 and 3")
    wide = writer.node("Cast", mask, role="lengths", to=7)
    samples = writer.over("Unsqueeze", writer.length(query, 0, "samples"), (0,), "samples beside")
    shape = writer.node("Concat", writer.whole("any", -1), samples, role="lengths shape", axis=0)
    rows = writer.node("Reshape", wide, shape, role="ends and starts")
    last = writer.node(
        "Sub", writer.length(rows, 0, "rows"), writer.constant("one", np.array(1, np.int64)), role="last row"
    )
    ends = writer.node("Gather", rows, writer.constant("first", np.array(0, np.int64)), role="ends", axis=0)
    # Where there is one row, it is the ends, and all start at no times that.
    starts = writer.node("Mul", writer.node("Gather", rows, last, role="last", axis=0), last, role="starts")
    places = _places(writer, key, "keys")
    before = writer.node("Less", places, writer.over("Unsqueeze", ends, (1,), "ends beside"), role="before end")
    early = writer.node("Less", places, writer.over("Unsqueeze", starts, (1,), "starts beside"), role="early")
    within = writer.node("And", before, writer.node("Not", early, role="started"), role="within")
    return writer.over("Unsqueeze", within, (1, 2), "mask beside")


def _places(writer: Writer, name: str, role: str) -> str:
    """0, 1, ... for the tokens of [N, heads, T, d]."""
    return writer.places(writer.length(name, 2, f"{role} length"), f"{role} places")


def _added(writer: Writer, scores: str, shut: str, filtered: str, dtype: np.dtype[Any], role: str) -> str:
    numbers = writer.node("Cast", shut, role=f"{role} numbers", to=_kind(dtype))
    large = writer.node("Mul", numbers, filtered, role=f"{role} filter")
    return writer.node("Add", scores, large, role=role)


def _kind(dtype: np.dtype[Any]) -> int:
    return {"float32": 1, "float16": 10, "float64": 11}[dtype.name]
