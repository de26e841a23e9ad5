"""One handler an ONNX operator: how its node becomes a draft layer, across opsets."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from mipin_ref.graph.draft import Affine, Pad, Softmax
from mipin_ref.graph.network import Activation, Array, Conv, Dense, MaxPool, Reshape, Shape, Transpose
from mipin_ref.graph.node import Node
from mipin_ref.graph.read import BATCH, Draft, Refused, Signal
from mipin_ref.graph.two_class import OP as TWO_CLASS
from mipin_ref.window import Window

Handler = Callable[[Node, Draft], None]
HANDLERS: dict[str, Handler] = {}


def _handles(*ops: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, handler))
        return handler

    return register


def _name(node: Node) -> str:
    return node.name or node.outputs[0]


# --- linear -----------------------------------------------------------------------------------------------------------


@_handles("Conv")
def conv(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    weight = draft.constant(node.inputs[1])
    assert weight is not None
    if weight.ndim != len(x.shape) or weight.ndim < 3:
        raise Refused(f"weight {weight.shape} does not fit an input of rank {len(x.shape)}")
    groups = int(node.attributes.get("group", 1))
    if weight.shape[1] * groups != x.shape[1] or weight.shape[0] % groups:
        raise Refused(f"weight {weight.shape} with {groups} groups does not fit {x.shape[1]} channels")
    bias = draft.constant(node.input(2))
    window = _window(node, x.shape[2:], weight.shape[2:])
    size = window.output_size(x.shape[2:])
    _check_size(size)
    draft.add(
        Conv(
            name=_name(node),
            input=x.name,
            output=node.outputs[0],
            in_shape=x.sample,
            out_shape=(weight.shape[0], *size),
            weight=weight,
            bias=np.zeros(weight.shape[0], weight.dtype) if bias is None else bias,
            window=window,
            groups=groups,
        )
    )


def _window(node: Node, size: Shape, kernel: Shape) -> Window:
    rank = len(kernel)
    strides = tuple(int(s) for s in node.attributes.get("strides") or (1,) * rank)
    dilations = tuple(int(d) for d in node.attributes.get("dilations") or (1,) * rank)
    auto = node.attributes.get("auto_pad", "NOTSET")
    pads = tuple(int(p) for p in node.attributes.get("pads") or (0,) * (2 * rank))
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, s, k, d in zip(size, strides, kernel, dilations, strict=True)
        ]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        begin, end = (small, large) if auto == "SAME_UPPER" else (large, small)
    elif auto == "VALID":
        begin, end = [0] * rank, [0] * rank
    elif auto == "NOTSET":
        begin, end = list(pads[:rank]), list(pads[rank:])
    else:
        raise Refused(f"auto_pad {auto}")
    if not len(strides) == len(dilations) == len(begin) == len(end) == len(size):
        raise Refused("strides, dilations or pads do not fit the rank of the input")
    if min(begin + end) < 0 or min(strides + dilations + tuple(kernel)) < 1:
        raise Refused("negative padding, or a stride, dilation or kernel below 1")
    return Window(tuple(kernel), strides, tuple(begin), tuple(end), dilations)


def _check_size(size: Shape) -> None:
    if min(size) < 1:
        raise Refused(f"its output would have the empty size {size}")


@_handles("Gemm")
def gemm(node: Node, draft: Draft) -> None:
    alpha, beta = (float(node.attributes.get(k, 1.0)) for k in ("alpha", "beta"))
    trans = [bool(node.attributes.get(k, 0)) for k in ("transA", "transB")]
    _matrix_product(node, draft, trans[0], trans[1], alpha, beta)


@_handles("MatMul")
def matmul(node: Node, draft: Draft) -> None:
    _matrix_product(node, draft, False, False, 1.0, 0.0)


def _matrix_product(node: Node, draft: Draft, trans_a: bool, trans_b: bool, alpha: float, beta: float) -> None:
    """Y = α op(A) op(B) + β C, with the activations on either side."""
    a, b = node.inputs[:2]
    if a in draft.signals and b in draft.signals:
        raise Refused("it multiplies two tensors that both depend on the input")
    left = a in draft.signals
    x = draft.signals[a if left else b]
    other = draft.constant(b if left else a)
    assert other is not None
    if len(x.shape) != 2 or other.ndim != 2:
        raise Refused(f"a product over shape {_readable(x.shape)}; only [N, features] is a dense layer")
    # op(A) must have the batch in its rows, op(B) in its columns.
    if (x.axis == 1) != (trans_a if left else not trans_b):
        raise Refused("it contracts over the batch")
    transposed = trans_b if left else trans_a
    weight = other.T if transposed == left else other
    if weight.shape[0] != x.sample[0]:
        raise Refused(f"weight {other.shape} does not fit {x.sample[0]} features")
    outputs = weight.shape[1]
    shift = draft.constant(node.input(2)) if beta else None
    if shift is None:
        bias = np.zeros(outputs, weight.dtype)
    else:
        rows, columns = (1, outputs) if left else (outputs, 1)
        try:
            bias = (beta * np.broadcast_to(shift, (rows, columns))).reshape(outputs)
        except ValueError as error:
            raise Refused(f"C of shape {shift.shape} is no bias of {outputs} outputs") from error
    draft.add(
        Dense(
            name=_name(node),
            input=x.name,
            output=node.outputs[0],
            in_shape=x.sample,
            out_shape=(outputs,),
            weight=np.ascontiguousarray(weight if alpha == 1.0 else alpha * weight).astype(weight.dtype, copy=False),
            bias=bias.astype(weight.dtype, copy=False),
        ),
        axis=0 if left else 1,
    )


def _readable(shape: Shape) -> str:
    return "[" + ", ".join("N" if d == BATCH else str(d) for d in shape) + "]"


# --- per-channel constants --------------------------------------------------------------------------------------------


@_handles("Add", "Sub", "Mul", "Div", "Sum")
def arithmetic(node: Node, draft: Draft) -> None:
    signals = [i for i, name in enumerate(node.inputs) if name in draft.signals]
    if len(signals) > 1:
        what = "it gates one tensor by another" if node.op in ("Mul", "Div") else "it joins several branches"
        raise Refused(what)
    if len(node.inputs) != 2:
        if len(node.inputs) == 1:
            draft.alias(node, draft.signals[node.inputs[0]])
            return
        raise Refused("a Sum of one tensor with several constants")
    x = draft.signals[node.inputs[signals[0]]]
    value = draft.constant(node.inputs[1 - signals[0]])
    assert value is not None
    constant = _per_sample(value, x)
    one, zero = np.ones_like(constant), np.zeros_like(constant)
    if node.op in ("Add", "Sum"):
        scale, shift = one, constant
    elif node.op == "Mul":
        scale, shift = constant, zero
    elif node.op == "Sub":
        scale, shift = (one, -constant) if signals[0] == 0 else (-one, constant)
    else:
        if signals[0] == 1:
            raise Refused("it divides a constant by a tensor")
        if not np.all(constant):
            raise Refused("it divides by zero")
        scale, shift = one / constant, zero
    _add_affine(node, draft, x, scale, shift)


def _per_sample(value: Array, x: Signal) -> Array:
    """A constant aligned with the per-sample shape of x, as float64."""
    rank = len(x.shape)
    if value.ndim > rank and any(d != 1 for d in value.shape[: value.ndim - rank]):
        raise Refused(f"a constant of shape {value.shape} widens its input {_readable(x.shape)}")
    aligned = value.reshape((1,) * max(rank - value.ndim, 0) + value.shape[max(value.ndim - rank, 0) :])
    if value.ndim > rank or any(c not in (1, d) for c, d in zip(aligned.shape, x.shape, strict=True)):
        raise Refused(f"a constant of shape {value.shape} widens its input {_readable(x.shape)}")
    return np.squeeze(aligned, axis=x.axis).astype(np.float64)


def _add_affine(node: Node, draft: Draft, x: Signal, scale: Array, shift: Array) -> None:
    draft.add(
        Affine(
            name=_name(node),
            input=x.name,
            output=node.outputs[0],
            in_shape=x.sample,
            out_shape=x.sample,
            operator=node.op,
            scale=scale,
            shift=shift,
        ),
        axis=x.axis,
    )


@_handles("BatchNormalization")
def batch_normalization(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    if node.attributes.get("training_mode", 0):
        raise Refused("training_mode is on: export in evaluation mode")
    parameters = [draft.constant(name) for name in node.inputs[1:5]]
    gamma, beta, mean, variance = (np.asarray(p, np.float64) for p in parameters)
    scale = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    shape = (-1,) + (1,) * (len(x.shape) - 2)
    _add_affine(node, draft, x, scale.reshape(shape), (beta - mean * scale).reshape(shape))


# --- pooling, padding -------------------------------------------------------------------------------------------------


@_handles("MaxPool")
def max_pool(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
    if len(kernel) != len(x.shape) - 2:
        raise Refused(f"kernel {kernel} does not fit an input of rank {len(x.shape)}")
    window = _window(node, x.shape[2:], kernel)
    extent = window.extent
    if any(b >= e or f >= e for b, f, e in zip(window.begin, window.end, extent, strict=True)):
        raise Refused("its padding is as wide as its window")
    ceil_mode = bool(node.attributes.get("ceil_mode", 0))
    size = window.output_size(x.shape[2:], ceil_mode=ceil_mode)
    _check_size(size)
    draft.add(
        MaxPool(
            name=_name(node),
            input=x.name,
            output=node.outputs[0],
            in_shape=x.sample,
            out_shape=(x.shape[1], *size),
            window=window,
            ceil_mode=ceil_mode,
        )
    )


@_handles("Pad")
def pad(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    pads = draft.option(node, "pads", 1)
    value = draft.option(node, "value", 2)
    axes = draft.constant(node.input(3))
    assert pads is not None
    rank = len(x.shape)
    chosen = list(range(rank)) if axes is None else [int(a) % rank for a in axes]
    begin, end = [0] * rank, [0] * rank
    for axis, b, e in zip(chosen, pads[: len(chosen)], pads[len(chosen) :], strict=True):
        begin[axis], end[axis] = int(b), int(e)
    if not any(begin + end):
        draft.alias(node, x)
        return
    if node.attributes.get("mode", "constant") != "constant" or (value is not None and np.any(value)):
        raise Refused("only padding with zeros has an inverse")
    if min(begin + end) < 0 or begin[0] or end[0]:
        raise Refused("it crops, or pads the batch")
    sample = tuple(d + b + e for d, b, e in zip(x.sample, begin[1:], end[1:], strict=True))
    draft.add(
        Pad(
            name=_name(node),
            input=x.name,
            output=node.outputs[0],
            in_shape=x.sample,
            out_shape=sample,
            begin=tuple(begin[1:]),
            end=tuple(end[1:]),
        )
    )


# --- element-wise -----------------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, bool] = {
    "Relu": True,
    "LeakyRelu": True,
    "PRelu": True,
    "ThresholdedRelu": True,
    "Elu": True,
    "Selu": True,
    "Celu": True,
    "Tanh": True,
    "Softsign": True,
    "HardSwish": True,
    "Gelu": True,
    "Mish": True,
    "Swish": True,
    "Sigmoid": False,
    "HardSigmoid": False,
    "Softplus": False,
}
"""ONNX activation -> whether f(0) = 0, so that a neuron that fires had an input that was not zero."""


@_handles(*ACTIVATIONS, "Clip")
def activation(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    keeps_zero = ACTIVATIONS.get(node.op, True)
    options: dict[str, float | str] = {
        key: value if isinstance(value, str) else float(value) for key, value in node.attributes.items()
    }
    slope = None
    if node.op == "Clip":
        options = {}
        for key, index, unbounded in (("min", 1, -3.4e38), ("max", 2, 3.4e38)):
            bound = draft.option(node, key, index)
            if bound is not None and abs(float(bound)) < abs(unbounded):
                options[key] = float(bound)
        keeps_zero = float(options.get("min", 0)) <= 0 <= float(options.get("max", 0))
    if node.op == "PRelu":
        value = draft.constant(node.inputs[1])
        assert value is not None
        slope = _per_sample(value, x)
    draft.add(
        Activation(
            name=_name(node),
            input=x.name,
            output=node.outputs[0],
            in_shape=x.sample,
            out_shape=x.sample,
            function=node.op,
            options=options,
            slope=slope,
            keeps_zero=keeps_zero,
        ),
        axis=x.axis,
    )


@_handles("Softmax", "LogSoftmax")
def softmax(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    default = -1 if draft.opset >= 13 else 1
    axis = int(node.attributes.get("axis", default)) % len(x.shape)
    features = prod(x.sample)
    # Before opset 13 every axis from `axis` on is normalised together.
    spanned = x.shape[axis] if draft.opset >= 13 else prod(x.shape[axis:])
    if axis == 0 or spanned != features:
        raise Refused(f"it normalises over axis {axis} of {_readable(x.shape)}, not over all classes")
    draft.add(
        Softmax(
            name=_name(node),
            input=x.name,
            output=node.outputs[0],
            in_shape=x.sample,
            out_shape=x.sample,
            function=node.op,
        )
    )


@_handles(TWO_CLASS)
def two_class(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    if x.shape != (BATCH, 1):
        raise Refused(f"two classes from {_readable(x.shape)}; one logit [N, 1] is needed")
    draft.add(
        Softmax(
            name=_name(node), input=x.name, output=node.outputs[0], in_shape=(1,), out_shape=(2,), function=TWO_CLASS
        )
    )


@_handles("Identity", "Dropout", "Cast", "ai.onnx.ml.ZipMap")
def identity(node: Node, draft: Draft) -> None:
    x = draft.signals[node.inputs[0]]
    if node.op == "Dropout":
        mode = draft.constant(node.input(2))
        if mode is not None and bool(mode):
            raise Refused("training_mode is on: export in evaluation mode")
    if node.op == "Cast" and node.attributes["to"] not in (1, 10, 11):
        raise Refused("it casts to a type that is not floating point")
    draft.alias(node, x)


# --- shapes -----------------------------------------------------------------------------------------------------------


@_handles("Shape")
def shape(node: Node, draft: Draft) -> None:
    dims = draft.signals[node.inputs[0]].shape
    start, end = node.attributes.get("start", 0), node.attributes.get("end", len(dims))
    draft.constants[node.outputs[0]] = np.array(dims[start:end], np.int64)


@_handles("Size")
def size(node: Node, draft: Draft) -> None:
    draft.constants[node.outputs[0]] = np.array(prod(draft.signals[node.inputs[0]].shape), np.int64)


@_handles("Transpose")
def transpose(node: Node, draft: Draft) -> None:
    x = draft.signals[node.inputs[0]]
    rank = len(x.shape)
    perm = [int(p) for p in node.attributes.get("perm") or range(rank - 1, -1, -1)]
    if sorted(perm) != list(range(rank)):
        raise Refused(f"perm {perm} is no permutation of {rank} axes")
    axis = perm.index(x.axis)
    shape = tuple(x.shape[p] for p in perm)
    sample_axes = [a for a in range(rank) if a != x.axis]
    inner = tuple(sample_axes.index(p) for p in perm if p != x.axis)
    if inner == tuple(range(rank - 1)):
        draft.alias(node, x, shape, axis)
        return
    draft.add(
        Transpose(
            name=_name(node),
            input=x.name,
            output=node.outputs[0],
            in_shape=x.sample,
            out_shape=tuple(x.sample[i] for i in inner),
            perm=(0, *(i + 1 for i in inner)),
        ),
        axis=axis,
    )


@_handles("Flatten")
def flatten(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    axis = int(node.attributes.get("axis", 1))
    axis = axis + len(x.shape) if axis < 0 else axis
    if axis == 0 or prod(x.shape[1:axis]) != 1:
        raise Refused(f"axis {axis} would fold features into the batch")
    _reshaped(node, draft, x, (BATCH, prod(x.sample)), 0)


@_handles("Reshape")
def reshape(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    wanted = draft.constant(node.inputs[1])
    assert wanted is not None
    target = [int(d) for d in wanted]
    if not node.attributes.get("allowzero", 0):
        target = [x.shape[i] if d == 0 and i < len(x.shape) else d for i, d in enumerate(target)]
    resolved, axis = _place_batch(target, prod(x.sample), draft.file_batch)
    _reshaped(node, draft, x, resolved, axis)


def _place_batch(target: list[int], features: int, file_batch: int | None) -> tuple[Shape, int]:
    """The full shape and the batch's axis that a Reshape target means once the batch is free."""
    if target.count(-1) > 1 or any(d < -1 or d == 0 for d in target):
        raise Refused(f"its target shape is {target}")
    known = prod(d for d in target if d not in (-1, BATCH))
    if BATCH in target:
        axis = target.index(BATCH)
    elif -1 in target and known == features:
        axis = target.index(-1)
    elif target and target[0] == file_batch and prod(target) != 0:
        axis, known = 0, known // target[0]
    else:
        raise Refused(f"its target shape {target} leaves no place for the batch of {features} features each")
    sample = [d for i, d in enumerate(target) if i != axis]
    if -1 in sample:
        if features % known:
            raise Refused(f"{features} features do not fit its target shape {target}")
        sample[sample.index(-1)] = features // known
    if prod(sample) != features or prod(sample[:axis]) != 1:
        raise Refused(f"its target shape {_readable(tuple(target))} mixes the batch with {features} features")
    return (*sample[:axis], BATCH, *sample[axis:]), axis


@_handles("Squeeze")
def squeeze(node: Node, draft: Draft) -> None:
    x = draft.signals[node.inputs[0]]
    axes = draft.option(node, "axes", 1)
    rank = len(x.shape)
    if axes is None:
        if draft.file_batch == 1:
            raise Refused("without axes it would drop the batch too, which the file fixes at 1")
        dropped = {i for i, d in enumerate(x.shape) if d == 1}
    else:
        dropped = {int(a) % rank for a in np.ravel(axes)}
    if x.axis in dropped or any(x.shape[i] != 1 for i in dropped):
        raise Refused(f"axes {sorted(dropped)} of {_readable(x.shape)} are not all of length one")
    kept = [i for i in range(rank) if i not in dropped]
    _reshaped(node, draft, x, tuple(x.shape[i] for i in kept), kept.index(x.axis))


@_handles("Unsqueeze")
def unsqueeze(node: Node, draft: Draft) -> None:
    x = draft.signals[node.inputs[0]]
    axes = draft.option(node, "axes", 1)
    assert axes is not None
    rank = len(x.shape) + axes.size
    added = {int(a) % rank for a in np.ravel(axes)}
    rest = iter(x.shape)
    shape = tuple(1 if i in added else next(rest) for i in range(rank))
    _reshaped(node, draft, x, shape, shape.index(BATCH))


def _reshaped(node: Node, draft: Draft, x: Signal, shape: Shape, axis: int) -> None:
    sample = shape[:axis] + shape[axis + 1 :]
    if sample == x.sample:
        draft.alias(node, x, shape, axis)
        return
    draft.add(
        Reshape(name=_name(node), input=x.name, output=node.outputs[0], in_shape=x.sample, out_shape=sample), axis=axis
    )


def is_shape_only(layer: object) -> bool:
    """Whether a layer moves values without touching them."""
    return isinstance(layer, Reshape | Transpose)
