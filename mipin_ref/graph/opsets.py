"""The lowest opset in which a model can be written, and its nodes in the form that they have there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from onnx import ModelProto, NodeProto, defs, helper, numpy_helper

from mipin_ref.graph.prune import read_by

LOWEST = 13
"""Older ones write Unsqueeze, ReduceSum and Split in another way."""

AXES_AS_INPUT = 18
"""From where on the means and extrema over axes are told these as an input."""
REDUCTIONS = {"ReduceMean", "ReduceMax", "ReduceMin"}
DILATED_MEANS = 19
PARTS_OF_SHAPES = 15


def lowered(model: ModelProto, least: int = LOWEST) -> None:
    """Set the lowest opset that has all operators of a model, and write its nodes as they are there.

    Its nodes are those of opset 20, but for the first ones, some of which may be of other domains that it names. least:
    no lower one, as those are of it.
    """
    opset = max((_needed(node) for node in model.graph.node), default=LOWEST)
    opset = max(opset, least)
    if opset < DILATED_MEANS:
        for node in model.graph.node:
            if node.op_type == "AveragePool":
                kept = [one for one in node.attribute if one.name != "dilations"]
                del node.attribute[:]
                node.attribute.extend(kept)
    if opset < AXES_AS_INPUT:
        constants = {one.name: one for one in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type in REDUCTIONS and len(node.input) > 1:
                axes = numpy_helper.to_array(constants[node.input[1]])
                del node.input[1]
                node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))
        _drop_unread(model)
    others = [helper.make_opsetid(one.domain, one.version) for one in model.opset_import if one.domain]
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", opset), *others])
    model.ir_version = helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)


def _needed(node: NodeProto) -> int:
    if node.domain:
        return LOWEST
    if node.op_type == "AveragePool" and any(a.name == "dilations" and {*a.ints} != {1} for a in node.attribute):
        return DILATED_MEANS
    if node.op_type == "Shape" and node.attribute:
        return PARTS_OF_SHAPES
    return max(LOWEST, _first()[node.op_type])


@cache
def _first() -> Mapping[str, int]:
    """The opset that each operator came with."""
    found: dict[str, int] = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            found[schema.name] = min(schema.since_version, found.get(schema.name, schema.since_version))
    return found


def _drop_unread(model: ModelProto) -> None:
    read = {name for node in model.graph.node for name in read_by(node)}
    kept = [one for one in model.graph.initializer if one.name in read]
    if len(kept) < len(model.graph.initializer):
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
