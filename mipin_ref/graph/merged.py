"""What stands in front of the layers, its nodes as the file has them, in a file under construction."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, helper, version_converter

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.document import Document
from mipin_ref.graph.functions import subgraphs
from mipin_ref.graph.layer_list import LayerList
from mipin_ref.graph.layout import Layout
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.opsets import LOWEST
from mipin_ref.graph.stem import Stem
from mipin_ref.text import first_line


def refusal(net: LayerList) -> str | None:
    """Why the part of the file in front of the layers cannot stand in another file, as the end of a sentence."""
    if net.file is not None:
        return "the file computes with integers what the layers tell of floating-point numbers"
    stem = net.stem
    if stem is None:
        return None
    if len(net.inputs) > 1:
        return (
            f"the file reads several inputs of each sample, {', '.join(map(repr, net.inputs))}, and an explainer one: "
            "explain such samples with this package, or bind the others to a value, option 'given'"
        )
    if stem.apart is not None:
        return f"its first nodes run on {stem.apart} samples at a time alone"
    held = [name for name, layout in stem.tensors.items() if layout != Layout()]
    if stem.bound.axis or held or any(one.axis is not None for one in stem.bound.given.values()):
        return "its first nodes do not hold the samples on the first axis"
    model = ModelProto.FromString(stem.model)
    for node in model.graph.node:
        if node.domain not in STANDARD:
            return f"{node.domain}.{node.op_type} {node.name!r} is no standard operator"
        if any(True for attribute in node.attribute for _ in subgraphs(attribute)):
            return f"{node.op_type} {node.name!r} holds graphs of its own"
    if model.graph.sparse_initializer or model.functions:
        return "its first nodes have sparse weights or functions"
    return None


def merge(document: Document, net: LayerList) -> None:
    """Write the nodes that make a network's sources, in front of all others.

    Raises UnsupportedModel where they cannot be told in an opset that the explainer has.
    """
    stem = net.stem
    if stem is None:
        return
    model = _converted(stem)
    document.least = max(document.least, _opset(model))
    inner = {stem.bound.data: _typed_input(document, net, stem)}

    def name(tensor: str) -> str:
        if tensor and tensor not in inner:
            inner[tensor] = document.fresh(f"front/{tensor}")
        return inner.get(tensor, "")

    for given, one in stem.bound.given.items():
        inner[given] = document.constant(f"front/{given}", one.value)
    for initializer in model.graph.initializer:
        initializer.name = name(initializer.name)
        document.keep(initializer)
    for node in model.graph.node:
        document.keep(
            helper.make_node(
                node.op_type,
                [name(one) for one in node.input],
                [name(one) for one in node.output],
                name=document.fresh(f"front/{node.op_type}"),
            ),
            node.attribute,
        )
    for source, shape in net.sources.items():
        made = name(stem.names.get(source, source))
        typed = document.append("Cast", [made], document.fresh(f"front/{source}/typed"), to=document.element)
        to = document.constant(f"front/{source}/shape", np.array([-1, *shape], np.int64))
        document.append("Reshape", [typed, to], document.tensor(source))


def _typed_input(document: Document, net: LayerList, stem: Stem) -> str:
    read, dtype = document.tensor(net.input), net.dtype if net.reads is None else net.reads
    if stem.bound.dtype == dtype:
        return read
    to = int(helper.np_dtype_to_tensor_dtype(stem.bound.dtype))
    return document.append("Cast", [read], document.fresh("front/input"), to=to)


def _converted(stem: Stem) -> ModelProto:
    model = ModelProto()
    model.ParseFromString(stem.model)
    if _opset(model) >= LOWEST:
        return model
    converted = ModelProto()
    try:
        converted.ParseFromString(version_converter.convert_version(model, LOWEST).SerializeToString())
    except Exception as failure:  # onnx's own classes have no common base of their own.
        raise UnsupportedModel(
            f"the first nodes of the file cannot be written in opset {LOWEST}: {first_line(failure)}"
        ) from failure
    return converted


def _opset(model: ModelProto) -> int:
    return max((int(one.version) for one in model.opset_import if one.domain in STANDARD), default=LOWEST)
