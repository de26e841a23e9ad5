"""Files whose input has no axis of samples at all, as of one picture [C, H, W] or one sequence [T, C]: they get one.

Sizes of a sample as many as the input has axes say so; other inputs are bound to values, which are the same for all
samples. The axis goes in front of all that is made of the input, until a node makes one for the layers behind
(Unsqueeze, Reshape), which is that of the samples then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from mipin_ref.errors import InvalidData, UnsupportedModel
from mipin_ref.graph.bind import BATCHES, FLOATS, bound_to
from mipin_ref.graph.fusions.writer import Surroundings, written_out
from mipin_ref.graph.inputs import data_inputs
from mipin_ref.graph.limited import run
from mipin_ref.graph.lone import without_shapes
from mipin_ref.graph.lone_rows import ROWS, dropped_again
from mipin_ref.graph.lone_sizes import with_sizes_computed
from mipin_ref.graph.lone_steps import Lone, followed
from mipin_ref.graph.nodes import Nodes
from mipin_ref.graph.open import Opened
from mipin_ref.graph.prune import pruned
from mipin_ref.graph.runtime import runtime_reason, session
from mipin_ref.layers import HostArray

TOLERANCE = 1e-4
"""Share of the largest value that two runs in float32 may differ by, whose sums are put together otherwise."""

SAMPLES = 2
"""Samples that a run is compared on."""


@dataclass(frozen=True, eq=False)
class Alone:
    """The file as it takes one sample. proto: with the sizes that the user said; value: its input."""

    proto: ModelProto
    value: ValueInfoProto

    @property
    def outputs(self) -> list[str]:
        return [one.name for one in self.proto.graph.output]

    def run(self) -> list[list[HostArray]]:
        """Its outputs of some samples, one after the other. Raises UnsupportedModel."""
        x = self._samples
        try:
            return [[*map(np.asarray, self._made(self.proto, one))] for one in x]
        except Exception as failure:  # onnxruntime's own classes have no common base of their own.
            raise UnsupportedModel(
                f"onnxruntime cannot run the file on one sample of {'×'.join(map(str, x.shape[1:]))}, which option "
                f"'input_shape' asks for: {runtime_reason(failure)}"
            ) from failure

    def check(self, made: ModelProto) -> None:
        """Raises UnsupportedModel where onnxruntime does not compute the same of samples by the model with an axis of
        samples, as far as numbers go: of several in one run, or of one alone where it cannot be run on several.
        """
        before = self.run()
        try:
            behind = self._several(made, len(before)) or self._several(made, 1)
        except Exception as failure:  # as in `run`
            raise UnsupportedModel(
                f"onnxruntime cannot run the file with an axis of samples in front of {self.value.name!r}, of which "
                f"option 'input_shape' says that it has none: {runtime_reason(failure)}"
            ) from failure
        for one, other in zip(before, behind, strict=False):
            self._compare(one, other)

    @property
    def _samples(self) -> HostArray:
        tensor = self.value.type.tensor_type
        sizes = [SAMPLES, *(dim.dim_value for dim in tensor.shape.dim)]
        drawn = np.random.default_rng(0).standard_normal(sizes)
        x = drawn if tensor.elem_type in FLOATS else np.zeros(sizes)
        return x.astype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))

    def _made(self, model: ModelProto, x: HostArray) -> list[HostArray]:
        made: list[HostArray] = run(session(model.SerializeToString()), self.outputs, {self.value.name: x})
        return made

    def _several(self, made: ModelProto, count: int) -> list[list[HostArray]]:
        """The outputs of each of so many samples by one run; of several none where they cannot be run together."""
        try:
            outputs = [np.asarray(one) for one in self._made(made, self._samples[:count])]
        except Exception:
            if count == 1:
                raise
            return []
        if count > 1 and any(one.ndim < 1 or one.shape[0] != count for one in outputs):
            return []
        return [[one[number] for one in outputs] if count > 1 else outputs for number in range(count)]

    def _compare(self, before: list[HostArray], behind: list[HostArray]) -> None:
        for name, one, other in zip(self.outputs, before, behind, strict=True):
            near = one.size == other.size
            if near and one.dtype.kind == "f":
                allowed = TOLERANCE * float(np.max(np.abs(one), initial=1e-30))
                near = float(np.max(np.abs(one.ravel() - other.ravel()), initial=0.0)) <= allowed
            if not near:
                raise UnsupportedModel(
                    f"with an axis of samples in front of {self.value.name!r}, of which option 'input_shape' says that "
                    f"it has none, output {name!r} differs: export the network with such an axis"
                )


def with_axis_of_samples(
    opened: Opened, input_shape: Any, given: Mapping[str, Any] | None, output: str | None
) -> tuple[Opened, Alone | None, Mapping[str, Any] | None]:
    """The model whose explained input has an axis of samples in front, the file as it was, and what is still given; all
    as they are, and None, where nothing says that it has no such axis.

    given: the values of all other inputs, which become constants; output: whose nodes alone are written.
    Raises InvalidData where a node is not understood that reads it.
    """
    inputs, values = data_inputs(opened.proto.graph), given if isinstance(given, Mapping) else {}
    told = input_shape if isinstance(input_shape, Mapping) else {}
    saying = [one for one in inputs if _says_so(one, told.get(one.name))]
    free = [one for one in inputs if one.name not in values]
    if len(inputs) > 1 and saying and saying != free:
        (one, *_) = saying
        raise InvalidData(
            f"input_shape of {one.name!r} has {len(told[one.name])} sizes, as many as the input has axes: leave out "
            "that of the samples; where it has none, bind all other inputs to values, option 'given'"
        )
    if not saying or opened.external:
        return opened, None, given
    (value,) = saying
    sizes = told[value.name]
    proto, digest = ModelProto(), sha256(opened.sha256.encode())
    pick = output in {one.name for one in opened.proto.graph.output}
    proto.CopyFrom(pruned(opened.proto, str(output)) if pick else opened.proto)
    # What the file says of sizes inside is of its own making: those of the input are said by the user.
    del proto.graph.value_info[:]
    for one in [*proto.graph.input]:
        if one.name in values:
            for default in [tensor for tensor in proto.graph.initializer if tensor.name == one.name]:
                proto.graph.initializer.remove(default)
            constant = bound_to(one, values[one.name]).value
            proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(constant), one.name))
            digest.update(f" {one.name} {constant.dtype} {constant.shape} ".encode() + constant.tobytes())
            proto.graph.input.remove(one)
    if not any(one.name == value.name for one in proto.graph.input):
        return opened, None, given
    for dim, size in zip(data_inputs(proto.graph)[0].type.tensor_type.shape.dim, sizes, strict=True):
        dim.dim_value = int(size)
    proto = with_sizes_computed(proto, data_inputs(proto.graph)[0], values)
    single = Alone(proto, data_inputs(proto.graph)[0])
    try:
        written = _written(proto, value.name, len(sizes))
    except InvalidData:
        # Sizes that do not fit are the first thing to say.
        single.run()
        raise
    if not written.metadata_props:
        written.metadata_props.extend(opened.proto.metadata_props)
    made = replace(opened, proto=written, path=None, sha256=digest.hexdigest() if values else opened.sha256)
    # Names that are none of the inputs are told by `bind`.
    known = {one.name for one in opened.proto.graph.input}
    rest = {name: one for name, one in values.items() if name not in known}
    return made, single, rest or None


def _says_so(value: ValueInfoProto, sizes: Any) -> bool:
    """Whether sizes of a sample are those of the whole input, none of which is the number of samples."""
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    if tensor.elem_type not in (*FLOATS, TensorProto.INT64, TensorProto.INT32):
        return False
    if not isinstance(sizes, tuple | list) or len(sizes) != len(dims) or not len(dims):
        return False
    if not all(isinstance(size, int | np.integer) and not isinstance(size, bool) and size > 0 for size in sizes):
        return False
    fits = all(dim.dim_value in (0, size) for dim, size in zip(dims, sizes, strict=True))
    named = dims[0].dim_param.lower() in {*BATCHES, "n"}
    return fits and not named and (sizes[0] > 1 or len(sizes) == 1)


def _written(proto: ModelProto, name: str, rank: int) -> ModelProto:
    known, around = Nodes(proto), Surroundings.of(proto)
    lone = Lone(known, around.opset, {name: rank})
    writers, again = {}, set[str]()
    for node in proto.graph.node:
        if lone.ranks.keys() & {*node.input}:
            writer = followed(node, around, lone, ROWS)
            if writer is None:
                raise InvalidData(
                    f"input_shape of {name!r} says that the file has no axis of samples, and {node.op_type} "
                    f"{node.name or node.output[0]!r} is not followed there: export the network with such an axis"
                )
            writers[id(node)] = writer
            again.update(name for name in node.output if name not in lone.ranks)
        elif again & {*node.input}:
            if (writer := dropped_again(node, around, lone)) is None:
                again.update(node.output)
            else:
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
