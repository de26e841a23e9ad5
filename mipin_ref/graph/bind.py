"""The inputs of a model: which one is explained, of which sizes, and what the others are bound to."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from mipin_ref.beside import others_of
from mipin_ref.display import OneLine
from mipin_ref.errors import InvalidData, UnsupportedModel, shown
from mipin_ref.graph.limits import TENSOR
from mipin_ref.graph.looked_up import rows_looked_up
from mipin_ref.layers import HostArray, Shape

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
WHOLES = (TensorProto.INT64, TensorProto.INT32, TensorProto.INT16, TensorProto.INT8, TensorProto.UINT8)
TEXTS = "; a network that reads ids of tokens and their mask is explained with its tokenizer, option 'tokenizer'"
"""What is said besides where all of several inputs hold integers."""
BATCHES = frozenset({"batch", "batch_size", "batchsize", "bs"})
"""What files call the axis of the samples, in small letters, where they do not have it first."""


@dataclass(frozen=True, eq=False)
class Given(OneLine):
    """The value that an input is bound to. axis: of length one and repeated for every sample; None: there is none."""

    value: HostArray
    axis: int | None

    def of(self, samples: int) -> HostArray:
        """The value for a batch of so many samples."""
        return self.value if self.axis is None else np.repeat(self.value, samples, self.axis)


@dataclass(frozen=True)
class Beside:
    """An input of which each sample has values of its own. shape: of a sample; dtype: that the file reads."""

    shape: Shape
    dtype: np.dtype[Any]


@dataclass(frozen=True, eq=False)
class Bound(OneLine):
    """The inputs of a model. data: the explained one; shape: of a sample; file_batch: the batch that the file fixes,
    None where it is free; dtype: that the file reads; given: the others, by name, that are bound to a value; beside:
    those of which each sample has its own; said: whether the user said anything; below: what integers of each input
    that the file is tried with stay under, as it may look them up in a table; least: what those of some begin at, 0
    where nothing is said; axis: of the samples in the explained input as the file reads it; sized: whether the user
    said any size.
    """

    data: str
    shape: Shape
    file_batch: int | None
    dtype: np.dtype[Any]
    given: Mapping[str, Given] = field(default_factory=dict)
    said: bool = False
    below: Mapping[str, int] = field(default_factory=dict)
    axis: int = 0
    sized: bool = False
    beside: Mapping[str, Beside] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether the explained input holds integers."""
        return self.dtype.kind != "f"

    @property
    def compute(self) -> np.dtype[np.floating]:
        """The type that the layers compute in."""
        return np.dtype(np.float64 if self.dtype == np.float64 else np.float32)

    def feed(self, x: HostArray) -> dict[str, HostArray]:
        """What onnxruntime is given for samples x [n, *shape]."""
        with np.errstate(over="ignore"):  # what half precision does not reach is Inf there
            typed = np.moveaxis(np.asarray(x, self.dtype), 0, self.axis)
        carried = {name: others_of(x)[name].astype(one.dtype, copy=False) for name, one in self.beside.items()}
        return {self.data: typed} | {name: one.of(len(x)) for name, one in self.given.items()} | carried

    def digest(self, sha256: str) -> str:
        """The hash of a file and of what was said of its inputs; that of the file where nothing was."""
        if not self.said:
            return sha256
        beside = "".join(f" {name} {one.shape}" for name, one in self.beside.items())
        told = hashlib.sha256(f"{sha256} {self.data} {self.shape}{beside}".encode())
        for name, one in sorted(self.given.items()):
            told.update(f" {name} {one.value.dtype} {one.value.shape} {one.axis} ".encode())
            told.update(np.ascontiguousarray(one.value).tobytes())
        return told.hexdigest()


def bind(
    proto: ModelProto,
    needed: Collection[str],
    input_shape: Mapping[str, Any] | None,
    given: Mapping[str, Any] | None,
    explained: str | None = None,
) -> Bound:
    """What the inputs of a model are once the user has said what the file leaves open; the sizes are written into it.

    needed: the inputs that the output depends on; explained: the one of several that is, where each sample has values
    of all that are not given. Raises InvalidData for names that are no inputs and values that do not fit;
    UnsupportedModel, in one message for all inputs, for what is still open.
    """
    made = {tensor.name for tensor in proto.graph.initializer}
    inputs = {value.name: value for value in proto.graph.input}
    wanted = _named("input_shape", input_shape, inputs)
    values = _named("given", given, inputs)
    read = [name for name in inputs if name in needed and name not in made]
    if not read:
        raise UnsupportedModel("the output does not depend on any input of the network")
    if all(name in values for name in read):
        raise InvalidData("every input is given a value: leave the one free that is to be explained")
    sized = {name for name in inputs if name in wanted and _size(inputs[name], wanted[name])}
    free = [name for name in read if name not in values]
    if explained is not None and explained not in free:
        raise InvalidData(
            f"input {shown(explained)} is not one that the output needs and that is left open; those are "
            f"{', '.join(map(repr, free))}"
        )
    if missing := left_open(proto, needed, input_shape, given, explained):
        raise UnsupportedModel(missing)
    data = next(inputs[name] for name in free if explained in (None, name))
    beside = {name: _beside(inputs[name]) for name in free if name != data.name}
    shape, batch, dtype = _read(data)
    axis = batch_axis(data)
    param = data.type.tensor_type.shape.dim[axis].dim_param
    bound = {name: _given(inputs[name], value, param) for name, value in values.items() if name in needed}
    for name in bound:
        _drop_default(proto, name)
    said = bool(bound) or bool(beside) or data.name in sized
    below = rows_looked_up(proto, data.name, beside)
    return Bound(data.name, shape, batch, dtype, bound, said, below, axis, bool(sized), beside)


def left_open(
    proto: ModelProto,
    needed: Collection[str],
    input_shape: Mapping[str, Any] | None,
    given: Mapping[str, Any] | None,
    explained: str | None = None,
) -> str:
    """What the file leaves open of its inputs and nobody has said yet, and by which options to say it; else empty.

    explained: see `bind`.
    """
    known = {tensor.name for tensor in proto.graph.initializer} | {*(given or ())}
    free = [value for value in proto.graph.input if value.name in needed and value.name not in known]
    batches = {_batch_param(value) for value in free}
    unsaid = [value for value in free if value.name not in (input_shape or ())]
    sizes = [axes for value in unsaid if (axes := _open_axes(value, batches - {""}))]
    told = []
    if len(free) > 1 and explained is None:
        told.append(
            f"the network has {len(free)} inputs, {', '.join(map(_described, free))}: bind all but the one to explain "
            "to a value, option 'given', or name it, option 'input', where x holds values of all"
            + (TEXTS if all(one.type.tensor_type.elem_type in WHOLES for one in free) else "")
        )
    if sizes:
        which = "" if len(free) == 1 or explained is not None else " of the one to explain"
        told.append(f"the file leaves {', '.join(sizes)} open: give the sizes of a sample{which}, option 'input_shape'")
    return "; ".join(told)


def _open_axes(value: ValueInfoProto, batches: Collection[str]) -> str:
    """The axes of a sample whose lengths the file leaves open. batches: what other inputs call their batch."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return f"all axes of input {value.name!r}"
    others = {*batches} - {_batch_param(value)}
    axes = [
        f"{axis} ({dim.dim_param})" if dim.dim_param else str(axis)
        for axis, dim in enumerate(kind.shape.dim)
        if axis != batch_axis(value) and dim.dim_value <= 0 and dim.dim_param not in others
    ]
    return f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(axes)} of input {_described(value)}" if axes else ""


def batch_axis(value: ValueInfoProto) -> int:
    """The axis of the samples of an input: the first, unless another one alone is called so.

    "N" is such a name behind an axis that has another name; behind a length it may be any number.
    """
    dims = value.type.tensor_type.shape.dim
    names = BATCHES | {"n"} if dims and dims[0].dim_param else BATCHES
    called = [axis for axis, dim in enumerate(dims) if dim.dim_param.lower() in names]
    return called[0] if len(called) == 1 else 0


def _batch_param(value: ValueInfoProto) -> str:
    """What the file calls the axis of the samples of an input; empty where it has no name."""
    dims = value.type.tensor_type.shape.dim
    return dims[batch_axis(value)].dim_param if dims else ""


def _named(option: str, told: Mapping[str, Any] | None, inputs: Collection[str]) -> Mapping[str, Any]:
    if told is None:
        return {}
    if not isinstance(told, Mapping):
        raise InvalidData(f"{option} must be values by input name, not {shown(told)}")
    for name in told:
        if name not in inputs:
            raise InvalidData(f"{option}: the network has no input {shown(name)}; its inputs are {', '.join(inputs)}")
    return told


def _described(value: ValueInfoProto) -> str:
    kind = value.type.tensor_type
    dims = [str(d.dim_value) if d.dim_value > 0 else (d.dim_param or "?") for d in kind.shape.dim]
    return f"{value.name!r} {TensorProto.DataType.Name(kind.elem_type).lower()} [{', '.join(dims)}]"


def _size(value: ValueInfoProto, wanted: Any) -> bool:
    """Write the sizes of a sample into the input. Returns whether the file leaves any of them open."""
    several = isinstance(wanted, Sequence | np.ndarray) and not isinstance(wanted, str | bytes) and np.ndim(wanted) == 1
    sizes = tuple(wanted) if several else ()
    if not sizes or not all(isinstance(d, int | np.integer) and not isinstance(d, bool) and d > 0 for d in sizes):
        raise InvalidData(f"input_shape of {value.name!r} must be the sizes of a sample, not {shown(wanted)}")
    if (elements := prod(map(int, sizes))) > TENSOR:
        raise InvalidData(f"input_shape of {value.name!r} asks for {elements:,} elements ({TENSOR:,} are allowed)")
    kind = value.type.tensor_type
    dims = kind.shape.dim
    told = kind.HasField("shape")
    if not told:
        dims.add().dim_param = "N"
        for _ in sizes:
            dims.add()
    if len(sizes) != len(dims) - 1:
        raise InvalidData(
            f"input_shape of {value.name!r} has {len(sizes)} sizes; a sample of {_described(value)} has {len(dims) - 1}"
        )
    open_, batch = False, batch_axis(value)
    inner = [(axis, dim) for axis, dim in enumerate(dims) if axis != batch]
    for (axis, dim), size in zip(inner, sizes, strict=True):
        if dim.dim_value > 0 and dim.dim_value != size:
            raise InvalidData(
                f"input_shape of {value.name!r} gives axis {axis} {size} entries; the file fixes it at {dim.dim_value}"
            )
        open_ = open_ or dim.dim_value <= 0
        dim.dim_value = int(size)
    return open_


def _read(value: ValueInfoProto) -> tuple[Shape, int | None, np.dtype[Any]]:
    kind = value.type.tensor_type
    if kind.elem_type not in (*FLOATS, *WHOLES):
        raise UnsupportedModel(f"input {value.name!r} holds neither floating-point numbers nor integers")
    dims = kind.shape.dim
    if len(dims) < 2:
        raise UnsupportedModel(
            f"input {_described(value)} cannot be explained: it needs an axis of samples and at least one more; where "
            "it is one sample, option 'input_shape' with the sizes of all its axes says so"
        )
    axis = batch_axis(value)
    shape = tuple(int(d.dim_value) for i, d in enumerate(dims) if i != axis)
    batch = int(dims[axis].dim_value) if dims[axis].dim_value > 0 else None
    if prod(shape) > TENSOR:
        raise UnsupportedModel(f"input {value.name!r} has {prod(shape):,} elements a sample ({TENSOR:,} are allowed)")
    return shape, batch, np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))


def _beside(value: ValueInfoProto) -> Beside:
    """An input beside the explained one. Raises UnsupportedModel where its first axis cannot be that of the samples."""
    kind = value.type.tensor_type
    if kind.elem_type not in (*FLOATS, *WHOLES) or not kind.shape.dim:
        raise UnsupportedModel(
            f"input {_described(value)} cannot go along with the explained one: it has no axis of samples or no numbers"
        )
    shape = tuple(int(d.dim_value) for d in kind.shape.dim[1:])
    return Beside(shape, np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)))


def bound_to(value: ValueInfoProto, told: Any) -> Given:
    """The value that an input is bound to where nothing has an axis of samples. Raises InvalidData."""
    return _given(value, told, "")


def _given(value: ValueInfoProto, told: Any, batch: str) -> Given:
    """told: a number or an array; batch: what the file calls the batch axis of the explained input, if anything."""
    kind = value.type.tensor_type
    try:
        array = np.asarray(told)
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"given {value.name!r} must be a number or an array, not {shown(told)}") from error
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    whole = array.dtype.kind in "iub" and dtype.kind in "iubf"
    if not (whole or (array.dtype.kind == "f" and dtype.kind == "f")):
        raise InvalidData(f"given {value.name!r} is {array.dtype}; the network reads {dtype}")
    dims = list(kind.shape.dim)
    if not array.ndim:
        # Of open axes that of the samples alone, by its name: any other may be of any length.
        called = {batch, *BATCHES} - {""}
        sizes = [d.dim_value or int(d.dim_param in called) for d in dims]
        if prod(map(int, sizes)) in range(1, TENSOR + 1):
            # A number stands for all entries, where their count is known.
            array = np.full(sizes, array)
    if kind.HasField("shape") and (
        len(dims) != array.ndim or any(0 < d.dim_value != size for d, size in zip(dims, array.shape, strict=True))
    ):
        raise InvalidData(
            f"given {value.name!r} has shape {list(array.shape)}; the network reads {_described(value)}"
            + (
                ""
                if array.ndim
                else ": give an array of that shape, as numpy.ones(shape), on the command line a .npy file"
            )
        )
    if dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise InvalidData(f"given {value.name!r} holds NaN or Inf")
    named = [i for i, d in enumerate(dims) if d.dim_param and d.dim_param == batch]
    alike = [i for i, d in enumerate(dims) if d.dim_value <= 0 and array.shape[i] == 1]
    axis = next(iter(named or alike), None)
    if axis is not None and array.shape[axis] != 1:
        raise InvalidData(
            f"given {value.name!r} has {array.shape[axis]} entries along the samples; give one, for every sample"
        )
    return Given(_typed(value.name, array, dtype), axis)


def _typed(name: str, array: HostArray, dtype: np.dtype[Any]) -> HostArray:
    """The value in the type that the network reads. Raises InvalidData where that cannot hold it."""
    with np.errstate(over="ignore"):
        typed = array.astype(dtype)
    if not np.all(np.isfinite(typed)) if dtype.kind == "f" else not np.array_equal(typed, array):
        raise InvalidData(f"given {name!r} holds numbers that {dtype}, which the network reads, does not reach")
    return typed


def _drop_default(proto: ModelProto, name: str) -> None:
    """Take away the value that the file itself would bind an input to."""
    for place, tensor in enumerate(proto.graph.initializer):
        if tensor.name == name:
            del proto.graph.initializer[place]
            return
