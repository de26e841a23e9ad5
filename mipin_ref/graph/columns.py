"""A table whose every column is an input of its own, as scikit-learn's pipelines are exported, as one input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.open import Opened

FEATURE_NAMES = "feature_names"
"""The entry of the metadata that keeps the names of the columns."""
KINDS = (TensorProto.FLOAT, TensorProto.DOUBLE)
BY_INPUT = 13
"""The opset from which on Split takes the sizes of its parts as an input."""


def with_joined_columns(opened: Opened, *told: object) -> Opened:
    """The model with one input [N, F], where it has several, all of them columns [N, 1] of floating-point numbers of
    one kind; as it is where it has not, or something is said of one of its inputs.

    told: what is said of inputs, each by name, None for nothing; what is neither is refused where it is used. The
    columns' names go to the metadata.
    """
    proto = opened.proto
    stored = {one.name for one in proto.graph.initializer}
    inputs = [one for one in proto.graph.input if one.name not in stored]
    names = [one.name for one in inputs]
    named = {name for one in told if isinstance(one, Mapping) for name in one}
    if len(inputs) < 2 or not all(map(_is_column, inputs)) or named.intersection(names):
        return opened
    kinds = {one.type.tensor_type.elem_type for one in inputs}
    opset = next((one.version for one in proto.opset_import if one.domain in STANDARD), None)
    if len(kinds) > 1 or opset is None:
        return opened
    kind, joined = kinds.pop(), ModelProto()
    joined.CopyFrom(proto)
    graph = joined.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {*names, *stored}
    table, sizes = _free("columns", taken), _free("columns_sizes", taken)
    del graph.input[:]
    batch = inputs[0].type.tensor_type.shape.dim[0]
    rows = batch.dim_value if batch.HasField("dim_value") and batch.dim_value else batch.dim_param or "N"
    graph.input.append(helper.make_tensor_value_info(table, kind, [rows, len(names)]))
    for node in graph.node:
        if list(node.input) == names and _puts_beside(node, floats=kind == TensorProto.FLOAT):
            # Which is what the columns are now.
            node.CopyFrom(helper.make_node("Identity", [table], node.output, name=node.name))
    if not any(name in names for node in graph.node for name in node.input):
        return _made(opened, joined, names)
    ones = np.ones(len(names), np.int64)
    if opset >= BY_INPUT:
        graph.initializer.append(numpy_helper.from_array(ones, sizes))
        node = helper.make_node("Split", [table, sizes], names, name=_free("split_columns", taken), axis=1)
    else:
        node = helper.make_node("Split", [table], names, name=_free("split_columns", taken), axis=1, split=ones)
    graph.node.insert(0, node)
    return _made(opened, joined, names)


def _made(opened: Opened, joined: ModelProto, names: list[str]) -> Opened:
    if not any(one.key == FEATURE_NAMES for one in joined.metadata_props):
        joined.metadata_props.add(key=FEATURE_NAMES, value=json.dumps(names))
    digest = hashlib.sha256(f"columns of {opened.sha256}".encode()).hexdigest()
    return replace(opened, proto=joined, path=None, external=False, sha256=digest)


def _is_column(one: ValueInfoProto) -> bool:
    tensor = one.type.tensor_type
    dims = tensor.shape.dim
    return tensor.elem_type in KINDS and len(dims) == 2 and dims[1].dim_value == 1


def _puts_beside(node: NodeProto, *, floats: bool) -> bool:
    """Whether a node puts its inputs, columns each, beside one another and does nothing else."""
    if node.op_type == "FeatureVectorizer":
        return floats
    return node.op_type == "Concat" and any(one.name == "axis" and one.i in (1, -1) for one in node.attribute)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
