"""com.microsoft Attention and MultiHeadAttention."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.fusions.scores import attend, parted
from mipin_ref.graph.fusions.writer import Unwritten, Writer

ROLES = ("query", "key", "value")


def attention(writer: Writer) -> None:
    """Queries, keys and values are products of one tensor [N, T, D] with parts of one matrix."""
    told = writer.attributes
    if int(told.get("do_rotary", 0)):
        raise Unwritten("it turns queries and keys by their places, option 'do_rotary': export these as nodes")
    writer.known(
        "num_heads",
        "qkv_hidden_sizes",
        "unidirectional",
        "scale",
        "mask_filter_value",
        "do_rotary",
        "rotary_embedding_dim",
        "past_present_share_buffer",
    )
    if writer.input(4) or writer.output(1) or writer.input(6):
        raise Unwritten("it reads or hands out keys and values of earlier runs")
    weight = writer.weight(writer.input(1))
    heads = int(told["num_heads"])
    sizes = [int(size) for size in told.get("qkv_hidden_sizes", ())] or [weight.shape[1] // 3] * 3
    if len(sizes) != 3 or sum(sizes) != weight.shape[1] or sizes[0] != sizes[1] or any(s % heads for s in sizes):
        raise Unwritten(f"{weight.shape[1]} columns of weights are not queries, keys and values of {heads} heads")
    cuts = np.cumsum(sizes)[:2]
    bias = writer.weight(writer.input(2)) if writer.input(2) else None
    made = []
    for place, (role, part) in enumerate(zip(ROLES, np.split(weight, cuts, axis=1), strict=True)):
        product = writer.node(
            "MatMul", writer.input(0), writer.constant(f"{role} weight", part), role=f"{role} product"
        )
        if bias is not None:
            product = writer.node(
                "Add", product, writer.constant(f"{role} bias", np.split(bias, cuts)[place]), role=f"{role} sum"
            )
        made.append(parted(writer, product, heads, role))
    attend(
        writer,
        (made[0], made[1], made[2]),
        weight.dtype,
        mask=writer.input(3),
        bias=writer.input(5),
        causal=bool(told.get("unidirectional", 0)),
        output=writer.output(0),
    )


def multi_head_attention(writer: Writer) -> None:
    """Queries [N, T, heads · d] of their own; keys and values like these, or [N, heads, T, d] already."""
    writer.known("num_heads", "scale", "mask_filter_value", "unidirectional")
    if any(writer.input(i) for i in range(6, 10)) or any(writer.output(i) for i in (1, 2, 3)):
        raise Unwritten("it reads or hands out keys and values of earlier runs, or its scores")
    if not all(writer.input(i) for i in range(3)):
        raise Unwritten("its queries, keys and values are packed into one tensor")
    heads, bias = int(writer.attributes["num_heads"]), writer.input(3)
    # On a CPU, where files are run, onnxruntime has it in single precision alone.
    dtype = np.dtype(np.float32)
    query, key, value = (
        name if role != "query" and writer.around.rank(name) == 4 else parted(writer, summed, heads, role)
        for name, summed, role in zip(writer.proto.input[:3], _biased(writer, bias), ROLES, strict=True)
    )
    attend(
        writer,
        (query, key, value),
        dtype,
        mask=writer.input(4),
        bias=writer.input(5),
        causal=bool(writer.attributes.get("unidirectional", 0)),
        output=writer.output(0),
    )


def _biased(writer: Writer, bias: str) -> list[str]:
    """Queries, keys and values, each with its part of the bias [D + D + D of values]."""
    names = list(writer.proto.input[:3])
    if not bias:
        return names
    width = writer.over("Unsqueeze", writer.length(names[0], 2, "width of bias"), (0,), "first cut")
    cuts = [
        writer.whole("start", 0),
        width,
        writer.node("Add", width, width, role="second cut"),
        writer.whole("end", len(writer.weight(bias))),
    ]
    made = []
    for name, role, start, end in zip(names, ROLES, cuts, cuts[1:], strict=False):
        part = writer.node("Slice", bias, start, end, role=f"{role} bias")
        made.append(writer.node("Add", name, part, role=f"{role} sum"))
    return made
