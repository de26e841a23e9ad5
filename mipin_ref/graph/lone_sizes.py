"""What a file computes of the sizes of its tensors, and of values that are given: constants, once these are known."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from mipin_ref.graph.limited import run
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import Nodes
from mipin_ref.graph.prune import pruned, read_by
from mipin_ref.graph.runtime import session

OF_SIZES = ("Shape", "Size")
RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")

ROUNDS = 8
"""How often sizes are inferred of those that were computed before."""


def with_sizes_computed(proto: ModelProto, value: ValueInfoProto, given: Collection[str] = ()) -> ModelProto:
    """The model with constants in the place of what is made of sizes and of given constants alone, by a run of
    onnxruntime; itself where nothing is. value: the input, of which all sizes are known.

    Sizes that onnx does not infer may depend on values, as of what NonZero makes: they stay.
    """
    for _ in range(ROUNDS):
        made = _with_inferred(proto, value, given)
        if made is proto:
            break
        proto = made
    return proto


def _with_inferred(proto: ModelProto, value: ValueInfoProto, given: Collection[str]) -> ModelProto:
    nodes = Nodes(proto)
    constant = {tensor.name for tensor in proto.graph.initializer}
    static = set[str]()
    for node in proto.graph.node:
        read = {name for name in read_by(node) if name}
        if node.domain not in STANDARD or node.op_type in RANDOM:
            continue
        if read <= constant and not read & {*given}:
            constant.update(node.output)
        elif (node.op_type in OF_SIZES and nodes.sizes(node.input[0]) is not None) or read <= constant | static:
            static.update(filter(None, node.output))
    outputs = {one.name for one in proto.graph.output}
    wanted = sorted(
        static & {name for node in proto.graph.node if not static & {*node.output} for name in read_by(node)} - outputs
    )
    if not wanted:
        return proto
    tensor = value.type.tensor_type
    zeros = np.zeros([dim.dim_value for dim in tensor.shape.dim], helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    asked = pruned(proto, *wanted)
    feed = {value.name: zeros} if any(one.name == value.name for one in asked.graph.input) else {}
    try:
        made = run(session(asked.SerializeToString()), wanted, feed)
    except Exception:  # onnxruntime's own classes have no common base: what cannot be run is told where it must be
        return proto
    whole = ModelProto()
    whole.CopyFrom(proto)
    kept = [node for node in whole.graph.node if not {*wanted} & {*node.output}]
    del whole.graph.node[:]
    whole.graph.node.extend(kept)
    whole.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(one), name) for name, one in zip(wanted, made, strict=True)
    )
    return pruned(whole, *(one.name for one in proto.graph.output))
