"""ONNX -> draft layers: one pass over the nodes, in which constants fold and every tensor has a shape or a value."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from mipin_ref.errors import CorruptFile, InvalidData, UnsupportedModel
from mipin_ref.graph.draft import BATCH, Draft, Gap, Refused, Signal, without_stand_in
from mipin_ref.graph.fold import FOLDABLE, fold
from mipin_ref.graph.inferred import sample_shapes
from mipin_ref.graph.inputs import data_inputs
from mipin_ref.graph.label import scores_behind
from mipin_ref.graph.limits import CONSTANT, TENSOR, Spent, TooLarge
from mipin_ref.graph.node import Node, node_of
from mipin_ref.graph.ops import HANDLERS
from mipin_ref.graph.presentable import standard_opset
from mipin_ref.layers import HostArray, Shape, Wired

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


@dataclass(frozen=True)
class Drafted:
    """The draft layers of the chosen output, in execution order, still to be canonicalised.

    logits: the tensor of the layers that the output is; None where it lies behind a node that cannot be handled;
    batch_axis: of the output in the file.
    names: of all tensors of the file. problems: one entry a node that cannot be handled; a Gap stands in its place.
    file_batch: the batch size that the file fixes, None where it is free; spent: what constants and weights take.
    """

    layers: list[Wired]
    aliases: dict[str, str]
    input: str
    input_shape: Shape
    dtype: np.dtype[np.floating]
    output: str
    logits: str | None
    batch_axis: int
    names: frozenset[str]
    problems: tuple[str, ...]
    file_batch: int | None
    spent: Spent


def choose_output(proto: ModelProto, wanted: str | None) -> str:
    """The name of the tensor to explain: an output, or the scores that one tells the largest of (ArgMax).

    Raises InvalidData where the choice is not possible or not clear.
    """
    values = list(proto.graph.output)
    names: list[str] = [value.name for value in values]
    told = {scores_behind(proto, name) for name in names} - {*names}
    if wanted is not None:
        if wanted not in names and wanted not in told:
            raise InvalidData(f"the network has no output {wanted!r}; its outputs are {', '.join(names)}")
        return scores_behind(proto, wanted)
    # Class labels (integers, strings) ride along in scikit-learn's exports; they hold no logit to explain.
    scores = [
        v.name for v in values if not v.type.HasField("tensor_type") or v.type.tensor_type.elem_type in (0, *FLOATS)
    ]
    choices = scores or [name for name in names if scores_behind(proto, name) != name]
    if not choices:
        raise UnsupportedModel(f"none of the network's outputs ({', '.join(names)}) is a floating-point tensor")
    chosen = {scores_behind(proto, name) for name in choices}
    if len(chosen) > 1:
        raise InvalidData(
            f"the network has {len(choices)} outputs ({', '.join(choices)}): name the one to explain, option 'output'"
        )
    return chosen.pop()


def read(proto: ModelProto, output: str) -> Drafted:
    """The draft layers of one output of a model that holds nothing else (see prune).

    Raises UnsupportedModel where the input is not one tensor of fixed sample shape.
    """
    constants = _initializers(proto)
    nodes = [node_of(node) for node in proto.graph.node]
    data = _only_input(data_inputs(proto.graph), output)
    shape, file_batch, dtype = _input_shape(data)
    names = frozenset([data.name, *constants, *(name for node in nodes for name in node.outputs)])
    spent = Spent(proto.ByteSize())
    draft = Draft(_opset(proto), file_batch, dtype, spent, names, constants)
    draft.signals[data.name] = Signal(data.name, (BATCH, *shape), 0)
    draft.sparse.update(tensor.values.name for tensor in proto.graph.sparse_initializer)

    problems: list[str] = []
    inferred: dict[str, Shape] | None = None
    for node in nodes:
        try:
            _step(node, draft)
        except Refused as reason:
            problems.append(f"{node.label} ({without_stand_in(str(reason))})")
            if inferred is None:
                inferred = sample_shapes(proto, file_batch)
            _leave_gap(node, draft, inferred)
    if not problems and output not in draft.signals:
        raise UnsupportedModel(f"output {output!r} does not depend on the network's input")
    explained = draft.signals.get(output)
    return Drafted(
        layers=draft.layers,
        aliases=draft.aliases,
        input=data.name,
        input_shape=shape,
        dtype=dtype,
        output=output,
        logits=None if explained is None else explained.name,
        batch_axis=0 if explained is None else explained.axis,
        names=names,
        problems=tuple(problems),
        file_batch=file_batch,
        spent=spent,
    )


def _step(node: Node, draft: Draft) -> None:
    dependent = [name for name in node.inputs if name in draft.signals]
    unknown = [n for n in node.inputs if n and n not in draft.signals and n not in draft.constants]
    if node.standard and not dependent and not unknown and node.op in FOLDABLE:
        _fold(node, draft)
        return
    handler = HANDLERS.get(node.qualified)
    if handler is None:
        raise Refused(
            "it runs subgraphs, which have no inverse" if node.has_subgraph else "no inverse is known for this operator"
        )
    for name in draft.sparse.intersection(unknown):
        raise Refused(f"input {name!r} is a sparse tensor; only dense weights are read")
    if unknown:
        if not draft.behind.intersection(unknown):
            raise Refused(f"input {unknown[0]!r} is a second output of a node, or nothing at all")
        draft.behind.update(node.outputs)
        return
    if not dependent:
        raise Refused("it does not depend on the network's input, and cannot be computed beforehand")
    try:
        handler(node, draft)
    except TooLarge as error:
        raise Refused(str(error)) from error
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError, MemoryError) as error:
        # The door checks each node alone; that arrays do not fit together shows only here.
        raise Refused(f"its inputs do not fit together: {error}") from error


def _fold(node: Node, draft: Draft) -> None:
    known = [draft.constants[name] if name else None for name in node.inputs]
    try:
        values = fold(node, known, draft.opset, draft.spent)
    except TooLarge as error:
        raise Refused(str(error)) from error
    draft.constants.update(zip(node.outputs, values, strict=True))


def _leave_gap(node: Node, draft: Draft, inferred: dict[str, Shape]) -> None:
    """Go on behind a refused node where its output's shape can be known, so that every problem is listed at once."""
    dependent = [name for name in node.inputs if name in draft.signals]
    for name in node.outputs:
        if dependent and name in inferred:
            source = draft.signals[dependent[0]]
            gap = Gap(
                name=node.label,
                inputs=(source.name,),
                output=name,
                in_shapes=(source.sample,),
                out_shape=inferred[name],
            )
            draft.layers.append(gap)
            draft.signals[name] = Signal(name, (BATCH, *inferred[name]), 0)
        elif name not in draft.signals and name not in draft.constants:
            draft.behind.add(name)


def _initializers(proto: ModelProto) -> dict[str, HostArray]:
    values: dict[str, HostArray] = {}
    for tensor in proto.graph.initializer:
        if prod(tensor.dims) > CONSTANT:
            raise UnsupportedModel(f"initializer {tensor.name!r} asks for {prod(tensor.dims)} elements")
        try:
            values[tensor.name] = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptFile(f"initializer {tensor.name!r} cannot be decoded: {error}") from error
    return values


def _opset(proto: ModelProto) -> int:
    opset = standard_opset(proto)
    if opset < 9:
        raise UnsupportedModel(f"the file uses opset {opset}; opset 9 is the oldest supported")
    return opset


def _only_input(values: list[ValueInfoProto], output: str) -> ValueInfoProto:
    if len(values) > 1:
        raise UnsupportedModel(f"the network has {len(values)} inputs: {', '.join(v.name for v in values)}")
    if not values:
        raise UnsupportedModel(f"output {output!r} does not depend on any input of the network")
    return values[0]


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
    batch = int(dims[0].dim_value) if dims[0].dim_value > 0 else None
    if prod(shape) > TENSOR:
        raise UnsupportedModel(f"input {value.name!r} has {prod(shape):,} elements a sample ({TENSOR:,} are allowed)")
    stored = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return shape, batch, np.dtype(np.float64 if stored == np.float64 else np.float32)
