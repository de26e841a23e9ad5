"""Dynamic int8: the several nodes of one product with quantised weights, gathered into one before they are read.

    DynamicQuantizeLinear(x), MatMulInteger or ConvInteger, Cast, Mul of the two scales, Mul

is how `onnxruntime.quantization.quantize_dynamic` writes it, and what onnxruntime's optimiser makes of that. Until
version 1.6 a bias b of a convolution was added between product and Cast, as floor(b / (scale · scale)).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mipin_ref.graph.node import Node

INTEGER = ("MatMulInteger", "ConvInteger")
TO_FLOAT = "com.microsoft.MatMulIntegerToFloat"
GATHERED = "gathered"
"""Attribute of a node that stands for all nodes of a product: its inputs are x, weight, scale, zero point and bias."""


def gathered(nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
    """The nodes, each product of integers as one node where its last one stood. outputs: of the model."""
    if not any(node.op in INTEGER or node.qualified == TO_FLOAT for node in nodes):
        return list(nodes)
    made = {name: node for node in nodes for name in node.outputs if name}
    readers = Counter(name for node in nodes for name in {*node.inputs})
    found: dict[str, tuple[Node, list[Node]]] = {}
    for node in nodes:
        whole = _whole(node, made)
        if whole is not None and not _read_beside(whole[1], readers, outputs):
            found[node.outputs[0]] = whole
    # Of a range that several products read, all must be gathered.
    inner = [one for _, parts in found.values() for one in parts]
    gone = {id(one) for one in inner}
    read = Counter(name for node in nodes if id(node) not in gone for name in node.inputs)
    ends = {*found}
    kept = []
    for node in nodes:
        if node.outputs and node.outputs[0] in ends:
            kept.append(found[node.outputs[0]][0])
        elif id(node) not in gone or any(read[name] for name in node.outputs):
            kept.append(node)
    return kept


def _whole(node: Node, made: Mapping[str, Node]) -> tuple[Node, list[Node]] | None:
    """The product that ends at a node, as one, and the nodes that it is made of; None where none does."""
    if node.qualified == TO_FLOAT:
        source = made.get(node.inputs[0])
        if source is None or not _quantizes(source, node.inputs[0], node.input(2), node.input(4)):
            return None
        inputs = (source.inputs[0], node.inputs[1], node.inputs[3], node.input(5), node.input(6))
        return replace(node, inputs=inputs, attributes={**node.attributes, GATHERED: True}), [source, node]
    if node.qualified != "Mul":
        return None
    parts = [made.get(name) for name in node.inputs]
    cast = next((one for one in parts if one is not None and one.qualified == "Cast"), None)
    scales = next((one for one in parts if one is not None and one.qualified == "Mul"), None)
    product = None if cast is None else made.get(cast.inputs[0])
    bias, added = "", list[Node]()
    if product is not None and product.qualified == "Add":
        bias, added = _whole_bias(product, made)
        product = next((made[name] for name in product.inputs if bias and made[name].qualified in INTEGER), None)
    if cast is None or scales is None or product is None or product.qualified not in INTEGER:
        return None
    source = made.get(product.inputs[0])
    if source is None or source.qualified != "DynamicQuantizeLinear" or len(source.outputs) < 3:
        return None
    if source.outputs[1] not in scales.inputs or not _quantizes(
        source, product.inputs[0], source.outputs[1], product.input(2)
    ):
        return None
    (scale,) = [name for name in scales.inputs if name != source.outputs[1]] or [""]
    inputs = (source.inputs[0], product.inputs[1], scale, product.input(3), bias)
    whole = replace(product, inputs=inputs, outputs=node.outputs, attributes={**product.attributes, GATHERED: True})
    return whole, [source, product, *added, cast, scales, node]


def _whole_bias(node: Node, made: Mapping[str, Node]) -> tuple[str, list[Node]]:
    """The bias that an Add of whole numbers adds to a product, and the nodes of it; '' where it adds something else."""
    chain, name = [node], ""
    others = [one for one in node.inputs if one in made and made[one].qualified not in INTEGER]
    if len(node.inputs) == 2 and len(others) == 1:
        (name,) = others
    for op in ("Reshape", "Cast", "Floor", "Div"):
        maker = made.get(name)
        if maker is None or maker.qualified != op:
            return "", []
        chain.append(maker)
        name = maker.inputs[0]
    return name, chain


def _quantizes(source: Node, value: str, scale: str, zero: str) -> bool:
    """Whether a node quantises a tensor by its range, into these."""
    return source.qualified == "DynamicQuantizeLinear" and source.outputs == (value, scale, zero)


def _read_beside(parts: Sequence[Node], readers: Mapping[str, int], outputs: Iterable[str]) -> bool:
    """Whether what a product is made of, but its range, is read by others too."""
    inner = [one for one in parts[:-1] if one.op not in ("DynamicQuantizeLinear", "Mul")]
    return any(readers[name] != 1 or name in {*outputs} for one in inner for name in one.outputs)
