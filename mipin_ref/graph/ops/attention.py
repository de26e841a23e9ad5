"""Attention as one operator, drafted as the products and the softmax that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.equation import moved
from mipin_ref.graph.ops.registry import draft_as, handles


@handles("Attention")
def attention(node: Node, draft: Draft) -> None:
    """The operator of opset 23: of [N, heads, T, d], or of [N, T, heads · d] where it says how many heads there are."""
    if any(node.outputs[1:]):
        raise Refused("it hands out keys, values or scores too")
    if node.input(4) or node.input(5):
        raise Refused("it reads keys and values of earlier runs")
    if float(node.attributes.get("softcap", 0.0)):
        raise Refused("it caps its scores, option 'softcap'")
    query, key, value = node.inputs[:3]
    _of_tensors(draft, (query, key, value))
    flat = len(draft.signals[query].shape) == 3
    if flat:
        heads = int(node.attributes["q_num_heads"])
        shared = int(node.attributes["kv_num_heads"])
        query, key, value = (
            _parted(node, draft, name, count, role)
            for name, count, role in ((query, heads, "query"), (key, shared, "key"), (value, shared, "value"))
        )
    scale = node.attributes.get("scale")
    mixed = draft.inner_name(node, "mixed") if flat else node.outputs[0]
    _attend(node, draft, (query, key, value), mixed, scale=scale, mask=node.input(3))
    if flat:
        _joined(node, draft, mixed, node.outputs[0])


def _of_tensors(draft: Draft, names: Sequence[str]) -> None:
    for name in names:
        if name not in draft.signals:
            raise Refused(f"its input {name!r} is a constant")
        if draft.signals[name].axis:
            raise Refused(f"the batch is axis {draft.signals[name].axis} of {name!r}")


def _attend(
    node: Node, draft: Draft, tensors: tuple[str, str, str], output: str, *, scale: float | None, mask: str = ""
) -> None:
    """softmax(Q Kᵀ · scale + mask) V of [N, heads, T, d], of which keys and values may have fewer heads."""
    query, key, value = tensors
    heads, shared = (draft.signals[name].shape[1] for name in (query, key))
    grouped = heads != shared
    if grouped:
        if heads % shared or mask:
            raise Refused(f"{heads} heads of queries on {shared} of keys, or with a mask")
        query = moved(node, draft, "group 0", query, "Reshape", _groups(draft, query, shared, heads // shared))
        key = moved(node, draft, "group 1", key, "Reshape", _groups(draft, key, shared, 1))
        value = moved(node, draft, "group 2", value, "Reshape", _groups(draft, value, shared, 1))
    rank = len(draft.signals[query].shape)
    turned = moved(node, draft, "turned", key, "Transpose", (*range(rank - 2), rank - 1, rank - 2))
    scores = draft.inner_name(node, "scores")
    draft_as(node, draft, "MatMul", [query, turned], scores)
    width = draft.signals[query].shape[-1]
    scaled = draft.inner_name(node, "scaled")
    factor = _constant(node, draft, "scale", np.array(1 / sqrt(width) if scale is None else scale, draft.dtype))
    draft_as(node, draft, "Mul", [scores, factor], scaled)
    for role, name in (("mask", _additive(node, draft, mask)), ("causal", _causal(node, draft, scaled))):
        if name:
            masked = draft.inner_name(node, f"{role}ed")
            draft_as(node, draft, "Add", [scaled, name], masked)
            scaled = masked
    weights = draft.inner_name(node, "weights")
    draft_as(node, draft, "Softmax", [scaled], weights, {"axis": -1})
    if not grouped:
        draft_as(node, draft, "MatMul", [weights, value], output)
        return
    mixed = draft.inner_name(node, "grouped")
    draft_as(node, draft, "MatMul", [weights, value], mixed)
    shape = draft.signals[mixed].shape
    wanted = _constant(node, draft, "ungrouped", np.array([0, heads, *shape[-2:]], np.int64))
    draft_as(node, draft, "Reshape", [mixed, wanted], output)


def _groups(draft: Draft, name: str, shared: int, each: int) -> tuple[int, ...]:
    return (0, shared, each, *draft.signals[name].shape[2:])


def _additive(node: Node, draft: Draft, mask: str) -> str:
    """The mask as what is added to scores; booleans are where weights may be."""
    if mask not in draft.constants:
        return mask
    value = draft.constants[mask]
    if value.dtype != np.bool_:
        return mask
    return _constant(node, draft, "added", np.where(value, 0.0, -np.inf).astype(draft.dtype))


def _causal(node: Node, draft: Draft, scores: str) -> str:
    if not int(node.attributes.get("is_causal", 0)):
        return ""
    queries, keys = draft.signals[scores].shape[-2:]
    later = np.arange(keys) > np.arange(queries)[:, None]
    return _constant(node, draft, "later", np.where(later, -np.inf, 0.0).astype(draft.dtype))


def _parted(node: Node, draft: Draft, name: str, heads: int, role: str) -> str:
    """[N, T, heads · d] as [N, heads, T, d]."""
    shape = draft.signals[name].shape
    if len(shape) != 3 or shape[-1] % heads:
        raise Refused(f"{readable(shape)} is not of {heads} heads")
    parted = moved(node, draft, f"{role} parted", name, "Reshape", (0, 0, heads, shape[-1] // heads))
    return moved(node, draft, f"{role} turned", parted, "Transpose", (0, 2, 1, 3))


def _joined(node: Node, draft: Draft, name: str, output: str) -> None:
    turned = moved(node, draft, "joined turned", name, "Transpose", (0, 2, 1, 3))
    shape = draft.signals[turned].shape
    wanted = _constant(node, draft, "joined", np.array([0, 0, prod(shape[2:])], np.int64))
    draft_as(node, draft, "Reshape", [turned, wanted], output)


def _constant(node: Node, draft: Draft, role: str, value: Any) -> str:
    name = draft.inner_name(node, f"{role} constant")
    draft.constants[name] = np.asarray(value)
    return name
