"""Files whose input has no axis of samples at all, as of one picture [C, H, W] or one sequence [T, C]: they get one.

Sizes of a sample as many as the input has axes say so. The axis goes in front of all that is made of the input, until a
node makes one for the layers behind (Unsqueeze, Reshape), which is that of the samples then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from mipin_ref.errors import InvalidData, UnsupportedModel
from mipin_ref.graph.bind import BATCHES
from mipin_ref.graph.fusions.writer import Surroundings, written_out
from mipin_ref.graph.inputs import data_inputs
from mipin_ref.graph.limited import run
from mipin_ref.graph.lone import without_shapes
from mipin_ref.graph.lone_steps import Lone, followed
from mipin_ref.graph.nodes import Nodes
from mipin_ref.graph.open import Opened
from mipin_ref.graph.runtime import runtime_reason, session

TOLERANCE = 1e-4
"""Share of the largest value that two runs in float32 may differ by, whose sums are put together otherwise."""


@dataclass(frozen=True, eq=False)
class Alone:
    """The file as it takes one sample. proto: with the sizes that the user said; value: its input."""

    proto: ModelProto
    value: ValueInfoProto

    def check(self, made: ModelProto) -> None:
        """Raises UnsupportedModel where onnxruntime does not compute the same of a sample by the model with an axis of
        samples, as far as numbers go.
        """
        tensor = self.value.type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        sizes = [dim.dim_value for dim in tensor.shape.dim]
        x = (
            np.random.default_rng(0).standard_normal(sizes)
            if tensor.elem_type == TensorProto.FLOAT
            else np.zeros(sizes)
        )
        names = [one.name for one in self.proto.graph.output]
        try:
            before, behind = (
                run(session(model.SerializeToString()), names, {self.value.name: sample.astype(dtype)})
                for model, sample in ((self.proto, x), (made, x[np.newaxis]))
            )
        except Exception as failure:  # onnxruntime's own classes have no common base of their own.
            raise UnsupportedModel(f"onnxruntime cannot run the file: {runtime_reason(failure)}") from failure
        for name, one, other in zip(names, map(np.asarray, before), map(np.asarray, behind), strict=True):
            allowed = TOLERANCE * float(np.max(np.abs(one), initial=1e-30)) if one.dtype.kind == "f" else np.inf
            if one.size != other.size or not float(np.max(np.abs(one.ravel() - other.ravel()), initial=0.0)) <= allowed:
                raise UnsupportedModel(
                    f"with an axis of samples in front of {self.value.name!r}, of which option 'input_shape' says that "
                    f"it has none, output {name!r} differs: export the network with such an axis"
                )


def with_axis_of_samples(opened: Opened, input_shape: Any) -> tuple[Opened, Alone | None]:
    """The model whose one input has an axis of samples in front, and the file as it was; the model as it is and None
    where nothing says that it has no such axis.

    Raises InvalidData where a node is not understood that reads it.
    """
    inputs = data_inputs(opened.proto.graph)
    told = input_shape if isinstance(input_shape, Mapping) else {}
    for one in inputs if len(inputs) > 1 else ():
        if _says_so(one, told.get(one.name)):
            raise InvalidData(
                f"input_shape of {one.name!r} has {len(told[one.name])} sizes, as many as the input has axes: leave "
                "out that of the samples; where it has none, export the network with one, as it has several inputs"
            )
    sizes = told.get(inputs[0].name) if len(inputs) == 1 else None
    if sizes is None or opened.external or not _says_so(inputs[0], sizes):
        return opened, None
    given = ModelProto()
    given.CopyFrom(opened.proto)
    (value,) = data_inputs(given.graph)
    for dim, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
        dim.dim_value = int(size)
    return replace(opened, proto=_written(given, value.name, len(sizes)), path=None), Alone(given, value)


def _says_so(value: ValueInfoProto, sizes: Any) -> bool:
    """Whether sizes of a sample are those of the whole input, none of which is the number of samples."""
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32):
        return False
    if not isinstance(sizes, tuple | list) or len(sizes) != len(dims) or not len(dims):
        return False
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        return False
    fits = all(dim.dim_value in (0, size) for dim, size in zip(dims, sizes, strict=True))
    named = dims[0].dim_param.lower() in {*BATCHES, "n"}
    return fits and not named and (sizes[0] > 1 or len(sizes) == 1)


def _written(proto: ModelProto, name: str, rank: int) -> ModelProto:
    known, around = Nodes(proto), Surroundings.of(proto)
    lone = Lone(known, around.opset, {name: rank})
    writers = {}
    for node in proto.graph.node:
        if lone.ranks.keys() & {*node.input}:
            writer = followed(node, around, lone)
            if writer is None:
                raise InvalidData(
                    f"input_shape of {name!r} says that the file has no axis of samples, and {node.op_type} "
                    f"{node.name or node.output[0]!r} is not followed there: export the network with such an axis"
                )
            writers[id(node)] = writer
    whole = written_out(proto, lambda node: writers.get(id(node)))
    whole = whole if whole is not proto else ModelProto.FromString(proto.SerializeToString())
    dims = data_inputs(whole.graph)[0].type.tensor_type.shape.dim
    lengths = [dim.dim_value for dim in dims]
    del dims[:]
    dims.add().dim_param = "N"
    for length in lengths:
        dims.add().dim_value = length
    without_shapes(whole, lone)
    return whole
