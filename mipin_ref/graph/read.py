"""ONNX -> draft layer list: one pass over the nodes, in which constants fold and every tensor has a shape or a value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from mipin_ref.errors import CorruptFile, InvalidData, UnsupportedModel
from mipin_ref.graph.network import Array, Layer, Shape
from mipin_ref.graph.node import FOLDABLE, MAX_ELEMENTS, Node, TooLarge, fold, record
from mipin_ref.graph.open import Opened
from mipin_ref.graph.two_class import join_two_class

BATCH = 1_000_003
"""Stands for the batch size while shapes are computed: a prime no network has, so it survives products unmistaken."""

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


class Refused(Exception):
    """Why a node cannot be handled; becomes one entry of UnsupportedModel."""


@dataclass(frozen=True)
class Signal:
    """A tensor that depends on the input: shape as in the file, with BATCH at `axis`; `name` of its batch-first form."""

    name: str
    shape: Shape
    axis: int

    @property
    def sample(self) -> Shape:
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]


@dataclass
class Draft:
    """The state of the pass: what handlers read and extend."""

    opset: int
    file_batch: int | None
    constants: dict[str, Array] = field(default_factory=dict)
    signals: dict[str, Signal] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)

    def constant(self, name: str) -> Array | None:
        """The value of a known tensor; None where it is left out. Refused where it depends on the input."""
        if not name:
            return None
        if name not in self.constants:
            raise Refused(f"input {name!r} is not a constant")
        return self.constants[name]

    def option(self, node: Node, attribute: str, index: int) -> Array | None:
        """A parameter that newer opsets take as input `index` and older ones as an attribute."""
        if attribute in node.attributes:
            return np.asarray(node.attributes[attribute])
        return self.constant(node.input(index))

    def signal(self, node: Node, *, batch_first: bool = True) -> Signal:
        """The one input of the node that depends on the network's input, which must be its first."""
        others = [n for n in node.inputs[1:] if n in self.signals]
        if others:
            raise Refused("it joins several branches")
        found = self.signals[node.inputs[0]]
        if batch_first and found.axis != 0:
            raise Refused(f"the batch is axis {found.axis} of {node.inputs[0]!r}")
        return found

    def add(self, layer: Layer, *, file_name: str | None = None, axis: int = 0) -> None:
        shape = (*layer.out_shape[:axis], BATCH, *layer.out_shape[axis:])
        if prod(layer.out_shape) > MAX_ELEMENTS:
            raise Refused(f"its output has {prod(layer.out_shape)} elements a sample")
        self.layers.append(layer)
        self.signals[file_name or layer.output] = Signal(layer.output, shape, axis)

    def alias(self, node: Node, source: Signal, shape: Shape | None = None, axis: int | None = None) -> None:
        """Output 0 of the node is its input under another name (and batch position)."""
        moved = Signal(source.name, source.shape if shape is None else shape, source.axis if axis is None else axis)
        self.signals[node.outputs[0]] = moved
        self.aliases[node.outputs[0]] = source.name


@dataclass(frozen=True)
class Read:
    """A draft chain: layers that the chosen output depends on, still to be canonicalised."""

    layers: list[Layer]
    aliases: dict[str, str]
    input: str
    input_shape: Shape
    dtype: np.dtype[np.floating]
    output_names: tuple[str, ...]
    output: str
    last: str


def read(opened: Opened, output: str | None = None) -> Read:
    """The draft layers of one output.

    Raises InvalidData where `output` is not one of the file's, UnsupportedModel with every node that cannot be handled.
    """
    from mipin_ref.graph.ops import HANDLERS

    proto = opened.proto
    graph = proto.graph
    initial = _initializers(proto)
    chosen = _choose_output(graph.output, output)
    nodes = join_two_class(_ancestors([record(node) for node in graph.node], chosen), initial)
    inputs = [value for value in graph.input if value.name not in initial]
    used = {name for node in nodes for name in node.inputs}
    data = _only_input([value for value in inputs if value.name in used], inputs)
    shape, file_batch, dtype = _input_shape(data)
    draft = Draft(_opset(proto), file_batch, constants=initial)
    draft.signals[data.name] = Signal(data.name, (BATCH, *shape), 0)

    problems: list[str] = []
    for node in nodes:
        try:
            _step(node, draft, HANDLERS)
        except Refused as reason:
            problems.append(f"{node.label} ({reason})")
    if problems:
        raise UnsupportedModel("the network has nodes that cannot be inverted", problems)
    if chosen not in draft.signals:
        raise UnsupportedModel(f"output {chosen!r} does not depend on the network's input")
    return Read(
        draft.layers,
        draft.aliases,
        data.name,
        shape,
        dtype,
        tuple(value.name for value in graph.output),
        chosen,
        draft.signals[chosen].name,
    )


def _step(node: Node, draft: Draft, handlers: dict[str, object]) -> None:
    standard = node.domain in ("", "ai.onnx")
    key = node.op if standard else f"{node.domain}.{node.op}"
    dependent = [name for name in node.inputs if name in draft.signals]
    unknown = [n for n in node.inputs if n and n not in draft.signals and n not in draft.constants]
    if standard and not dependent and not unknown and node.op in FOLDABLE:
        known = [draft.constants[name] if name else None for name in node.inputs]
        try:
            draft.constants.update(zip(node.outputs, fold(node, known, draft.opset), strict=True))
        except TooLarge as error:
            raise Refused(str(error)) from error
        except Exception as error:
            raise Refused(f"a constant that cannot be computed: {type(error).__name__}") from error
        return
    handler = handlers.get(key)
    if handler is None:
        raise Refused("no inverse is known for this operator")
    if unknown:
        return  # it stands behind a node already refused
    assert callable(handler)
    handler(node, draft)


def _initializers(proto: ModelProto) -> dict[str, Array]:
    values: dict[str, Array] = {}
    for tensor in proto.graph.initializer:
        if prod(tensor.dims) > MAX_ELEMENTS:
            raise UnsupportedModel(f"initializer {tensor.name!r} asks for {prod(tensor.dims)} elements")
        try:
            values[tensor.name] = numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            raise CorruptFile(f"initializer {tensor.name!r} cannot be decoded: {error}") from error
    return values


def _opset(proto: ModelProto) -> int:
    opset = next((int(o.version) for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < 9:
        raise UnsupportedModel(f"the file uses opset {opset}; opset 9 is the oldest supported")
    return opset


def _choose_output(values: Iterable[ValueInfoProto], wanted: str | None) -> str:
    values = list(values)
    names = [value.name for value in values]
    if wanted is not None:
        if wanted not in names:
            raise InvalidData(f"the network has no output {wanted!r}; its outputs are {', '.join(names)}")
        return wanted
    # Class labels (integers, strings) ride along in scikit-learn's exports; they hold no logit to explain.
    scores = [
        v.name for v in values if not v.type.HasField("tensor_type") or v.type.tensor_type.elem_type in (0, *FLOATS)
    ]
    if len(scores) != 1:
        raise InvalidData(f"the network has {len(scores)} outputs ({', '.join(scores)}): choose one with output=")
    return scores[0]


def _ancestors(nodes: list[Node], output: str) -> list[Node]:
    """The nodes that `output` depends on, in the file's order."""
    needed, kept = {output}, []
    for node in reversed(nodes):
        if needed & set(node.outputs):
            kept.append(node)
            needed.update(name for name in node.inputs if name)
            needed.update(_captured(node))
    return kept[::-1]


def _captured(node: Node) -> set[str]:
    """Names that the subgraphs of a control-flow node may read from outside."""
    return {name for g in node.proto.attribute if g.HasField("g") for inner in g.g.node for name in inner.input}


def _only_input(used: list[ValueInfoProto], declared: list[ValueInfoProto]) -> ValueInfoProto:
    if len(used) > 1:
        raise UnsupportedModel(f"the network has {len(used)} inputs: {', '.join(v.name for v in used)}")
    if not used:
        names = ", ".join(value.name for value in declared) or "none declared"
        raise UnsupportedModel(f"the output does not depend on any input of the network ({names})")
    return used[0]


def _input_shape(value: ValueInfoProto) -> tuple[Shape, int | None, np.dtype[np.floating]]:
    kind = value.type.tensor_type
    if kind.elem_type not in FLOATS:
        raise UnsupportedModel(f"input {value.name!r} is not a floating-point tensor")
    dims = kind.shape.dim
    if not kind.HasField("shape") or len(dims) < 2:
        raise UnsupportedModel(f"input {value.name!r} must have a batch axis and at least one more")
    free = [i for i, d in enumerate(dims) if i > 0 and d.dim_value <= 0]
    if free:
        raise UnsupportedModel(
            f"input {value.name!r} leaves axis {', '.join(map(str, free))} open: export the network with fixed sizes"
        )
    shape = tuple(int(d.dim_value) for d in dims[1:])
    if prod(shape) > MAX_ELEMENTS:
        raise UnsupportedModel(f"input {value.name!r} has {prod(shape)} elements a sample")
    batch = int(dims[0].dim_value) if dims[0].dim_value > 0 else None
    found = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return shape, batch, np.dtype(np.float64 if found == np.float64 else np.float32)
