"""What the forward pass of each kind of layer becomes by a known slip, for the likely cause of a deviation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np

from mipin_ref.backend import get_backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.golden.regression import Arrays
from mipin_ref.golden.stages.stage import Explained
from mipin_ref.layers import (
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    Attention,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Difference,
    Extremum,
    Gate,
    Gather,
    GlobalAveragePool,
    HostArray,
    Layer,
    MaxPool,
    Negative,
    Norm,
    Pad,
    Recurrent,
    Reduce,
    Reshape,
    Resize,
    ResponseNorm,
    Scores,
    Shared,
    Slice,
    SoftmaxWeights,
    TokenDense,
    Transpose,
    Where,
    as_kind,
)
from mipin_ref.layers.averages import average, window_counts
from mipin_ref.layers.resize import COORDINATES, ROUNDINGS

Slips = Callable[[Layer, Arrays, HostArray], Explained]
"""Takes a layer, the golden values by tensor, and its own golden value."""


def forward_slips(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    """The known slips of a layer's kind. Raises UnsupportedModel for a kind that is not among SLIPS."""
    slips = SLIPS.get(type(layer))
    if slips is None:
        raise UnsupportedModel(f"the slips of layer {layer.name!r} ({type(layer).__name__}) are not known")
    yield from slips(layer, values, golden)


def _none(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    yield from ()


def _without_bias(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    bias = as_kind(layer, Shared).bias.reshape(-1, *(1,) * (golden.ndim - 2)).astype(np.float64)
    yield "the bias is missing", lambda: golden - bias


def _convolved(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    yield from _without_bias(layer, values, golden)
    conv, x = as_kind(layer, Conv), values[layer.input].astype(np.float64)
    flipped = np.flip(conv.weight, tuple(range(2, conv.weight.ndim))).astype(np.float64)
    yield (
        "the kernel is flipped in space: ONNX's Conv is a cross-correlation",
        lambda: conv.product(get_backend(), x, flipped) + conv.offset.astype(np.float64),
    )


def _convolved_back(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    yield from _without_bias(layer, values, golden)
    conv, x = as_kind(layer, ConvTranspose), values[layer.input].astype(np.float64)
    flipped = np.flip(conv.weight, tuple(range(2, conv.weight.ndim))).astype(np.float64)
    yield (
        "the kernel is flipped in space",
        lambda: conv.product(get_backend(), x, flipped) + conv.offset.astype(np.float64),
    )


def _joined(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    parts = [values[name].astype(np.float64) for name in reversed(layer.inputs)]
    axis = as_kind(layer, Concat).axis
    yield "the inputs are joined in reverse order", lambda: np.concatenate(parts, axis=axis)


def _turned(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    yield "the sign is wrong: what is subtracted is the second input", lambda: -golden


def _gated(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    content, gate = (values[name].astype(np.float64) for name in layer.inputs)
    other = content / np.where(gate == 0, 1, gate) if as_kind(layer, Gate).function == "Mul" else content * gate
    yield "the gate divides where it multiplies, or the other way round", lambda: other


def _attended(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    attention = as_kind(layer, Attention)
    content, weights = (values[name].astype(np.float64) for name in layer.inputs)
    if weights.shape[-1] == weights.shape[-2]:
        turned = np.swapaxes(weights, -1, -2)
        yield "the weights are transposed", lambda: attention.forward(get_backend(), [content, turned])
    if attention.heads > 1:
        mixed = weights[..., ::-1, :, :]
        yield "the heads are in reverse order", lambda: attention.forward(get_backend(), [content, mixed])
        same = np.broadcast_to(weights.mean(axis=-3, keepdims=True), weights.shape)
        yield "all heads have one head's weights", lambda: attention.forward(get_backend(), [content, same])


def _softened(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    weights, x = as_kind(layer, SoftmaxWeights), [values[layer.input].astype(np.float64)]
    for axis in range(1, x[0].ndim):
        if axis != weights.axis:
            other = replace(weights, axis=axis)
            yield f"the softmax is over axis {axis}, not {weights.axis}", partial(other.forward, get_backend(), x)


def _multiplied(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    if layer.out_shape[-1] == layer.out_shape[-2]:
        yield "the product is transposed", lambda: np.swapaxes(golden, -1, -2)


def _extreme(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    given = [values[name].astype(np.float64) for name in layer.inputs]
    other = np.minimum if as_kind(layer, Extremum).function == "Max" else np.maximum
    yield "the smaller wins where the larger does, or the other way round", lambda: reduce(other, given)


def _reshaped(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    if len(layer.in_shape) > 1:
        last = np.moveaxis(values[layer.input].astype(np.float64), 1, -1)
        yield "channels run last where a map is flattened", lambda: last.reshape(golden.shape)


def _averaged(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    pool, x = as_kind(layer, AveragePool), values[layer.input].astype(np.float64)
    other = window_counts(pool.window, pool.out_shape[1:], pool.in_shape[1:], pads=not pool.count_include_pad)
    yield (
        "padding counts in the mean, or not, against count_include_pad",
        lambda: average(get_backend(), x, pool.window, other),
    )


def _without_bias_of_features(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    offset = as_kind(layer, TokenDense).offset.astype(np.float64)
    yield "the bias is missing", lambda: golden - offset


def _normed(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    norm, x = as_kind(layer, Norm), values[layer.input].astype(np.float64)
    bare = replace(norm, divisor=replace(norm.divisor, epsilon=0.0))
    yield "epsilon is missing", lambda: bare.forward(get_backend(), [x])
    if norm.divisor.epsilon:
        outside = replace(norm.divisor, epsilon=0.0, offset=norm.divisor.offset + norm.divisor.epsilon)
        yield "epsilon is added to the root", lambda: replace(norm, divisor=outside).forward(get_backend(), [x])
    if norm.centred and norm.count > 1:
        sample = replace(norm.divisor, factor=norm.divisor.factor * norm.count / (norm.count - 1))
        yield "the variance counts one value less", lambda: replace(norm, divisor=sample).forward(get_backend(), [x])
    other = "the mean is not subtracted" if norm.centred else "the mean is subtracted"
    yield other, lambda: replace(norm, centred=not norm.centred).forward(get_backend(), [x])
    plain = replace(norm, scale=np.ones_like(norm.scale), shift=np.zeros_like(norm.shift))
    yield "scale and shift are missing", lambda: plain.forward(get_backend(), [x])


def _reduced(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    means, x = as_kind(layer, Reduce), [values[layer.input].astype(np.float64)]
    other = replace(means, total=not means.total)
    yield "the sum is taken where the mean is, or the other way round", lambda: other.forward(get_backend(), x)


def _resized(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    resize, x = as_kind(layer, Resize), [values[layer.input].astype(np.float64)]
    if resize.scales is not None:
        quotients = replace(resize, scales=None)
        yield (
            "scales are the quotients of the sizes, not those that are stated",
            partial(quotients.forward, get_backend(), x),
        )
    for coordinates in COORDINATES:
        if coordinates != resize.coordinates:
            other = replace(resize, coordinates=coordinates)
            yield f"coordinates are {coordinates}, not {resize.coordinates}", partial(other.forward, get_backend(), x)
    for rounding in ROUNDINGS if resize.mode == "nearest" else ():
        if rounding != resize.rounding:
            other = replace(resize, rounding=rounding)
            yield (
                f"the nearest location is that of {rounding}, not {resize.rounding}",
                partial(other.forward, get_backend(), x),
            )


def _kept(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    where, x = as_kind(layer, Where), [values[name].astype(np.float64) for name in layer.inputs]
    other = replace(where, mask_set=~where.mask_set)
    yield "the mask is the wrong way round", lambda: other.forward(get_backend(), x)


def _activated(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    activation, x = as_kind(layer, Activation), [values[layer.input].astype(np.float64)]
    if activation.function == "Gelu":
        approximate = "none" if activation.options.get("approximate", "none") == "tanh" else "tanh"
        other = replace(activation, options={"approximate": approximate})
        yield "GELU by the tanh formula, or the other way round", lambda: other.forward(get_backend(), x)
    if activation.options:
        plain = replace(activation, options={})
        yield "the attributes of the function are left out", lambda: plain.forward(get_backend(), x)


def _recurrent(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    one, given = as_kind(layer, Recurrent), [values[name].astype(np.float64) for name in layer.inputs]
    turned = replace(one, reverse=tuple(not backwards for backwards in one.reverse))
    yield "the steps are taken in the other order", lambda: turned.forward(get_backend(), given)
    order = [1, 0, *range(2, one.gates)]
    moved: dict[str, Any] = {name: _reordered(array, order) for name, array in one.arrays.items() if array.ndim > 2}
    swapped = replace(one, **moved)
    yield "the first two gates are interchanged", lambda: swapped.forward(get_backend(), given)
    bare = replace(one, bias=np.zeros_like(one.bias))
    yield "the bias is missing", lambda: bare.forward(get_backend(), given)
    states: dict[str, Any] = {name: np.zeros_like(array) for name, array in one.arrays.items() if array.ndim == 2}
    start = replace(one, **states)
    yield "the initial state is missing", lambda: start.forward(get_backend(), given)
    if one.functions != one.usual:
        usual: dict[str, Any] = dict(zip(("opening", "renewing", "leaves"), one.usual, strict=False))
        plain = replace(one, **usual)
        yield "the activations are sigmoid and tanh", lambda: plain.forward(get_backend(), given)


def _peepholes(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    yield from _recurrent(layer, values, golden)
    one, given = as_kind(layer, LSTM), [values[name].astype(np.float64) for name in layer.inputs]
    if one.peepholes is not None:
        blind = replace(one, peepholes=None)
        yield "the peepholes are missing", lambda: blind.forward(get_backend(), given)


def _reset(layer: Layer, values: Arrays, golden: HostArray) -> Explained:
    yield from _recurrent(layer, values, golden)
    one, given = as_kind(layer, GRU), [values[name].astype(np.float64) for name in layer.inputs]
    other = replace(one, reset_behind=not one.reset_behind)
    yield (
        "the reset gate stands in front of the product where it stands behind it, or the other way round",
        lambda: other.forward(get_backend(), given),
    )


def _reordered(array: HostArray, order: list[int]) -> HostArray:
    """Arrays [D, gates, ...] with gates in another order; the candidate, where it is there, stays last."""
    return array[:, [*order, *range(len(order), array.shape[1])]]


SLIPS: Mapping[type[Layer], Slips] = {
    Dense: _without_bias,
    Conv: _convolved,
    Concat: _joined,
    Reshape: _reshaped,
    AveragePool: _averaged,
    TokenDense: _without_bias_of_features,
    Norm: _normed,
    Gate: _gated,
    Attention: _attended,
    SoftmaxWeights: _softened,
    Scores: _multiplied,
    Extremum: _extreme,
    **dict.fromkeys((Negative, Difference), _turned),
    ConvTranspose: _convolved_back,
    Resize: _resized,
    Where: _kept,
    Activation: _activated,
    Reduce: _reduced,
    LSTM: _peepholes,
    GRU: _reset,
    **dict.fromkeys((Gather, MaxPool, GlobalAveragePool, Affine, ResponseNorm, Add, Slice, Pad, Transpose), _none),
}
