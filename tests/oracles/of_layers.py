"""The layers that the package read from a file as ops of spec.py, for networks that an exporter wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import mipin_ref as mr
from tests.oracles import spec
from tests.oracles.spec import Op


def _pads(window: Any) -> tuple[int, ...]:
    return (*window.begin, *window.end)


def _transposed(layer: Any) -> Op:
    """What is not cut off at the end is added there."""
    more = []
    for n, out, s, e, b, f in zip(
        layer.in_shape[1:],
        layer.out_shape[1:],
        layer.window.strides,
        layer.window.extent,
        layer.window.begin,
        layer.window.end,
        strict=True,
    ):
        more.append(out - ((n - 1) * s + e - b - f))
    w = layer.window
    return spec.ConvTranspose(
        layer.inputs,
        layer.output,
        layer.weight,
        layer.bias,
        w.strides,
        _pads(w),
        w.dilations,
        tuple(more),
        layer.groups,
    )


def _activation(layer: Any) -> Op:
    if layer.formula is not None:
        return spec.Part(layer.inputs, layer.output, layer.mask == "positive")
    options = layer.options
    return spec.Activation(
        layer.inputs,
        layer.output,
        layer.function,
        options.get("alpha"),
        options.get("min", -np.inf),
        options.get("max", np.inf),
    )


def _affine(layer: Any) -> spec.ChannelAffine:
    """A batch normalisation has one value a channel, of axis 1; of features alone one number may stand for all."""
    scale, shift = layer.scale, layer.shift
    if len(layer.out_shape) == 1:
        scale, shift = (np.broadcast_to(value, layer.out_shape) for value in (scale, shift))
    elif layer.channels == 1 and all(value.size == value.shape[0] for value in (scale, shift)):
        scale, shift = (np.broadcast_to(value.reshape(-1), layer.out_shape[:1]) for value in (scale, shift))
    return spec.ChannelAffine(layer.inputs, layer.output, scale, shift)


def _norm(layer: Any) -> Op:
    groups = layer.split[0] if layer.split != layer.in_shape else 0
    return spec.Norm(
        layer.inputs, layer.output, layer.over, layer.scale, layer.shift, layer.axis, layer.centred, groups=groups
    )


def _recurrent(layer: Any) -> Op:
    """As ONNX has the weights; those of the candidate and the sequence are in the layer before."""
    directions, _, size, features = layer.weight.shape
    none = np.zeros((directions, 1, size, features))
    weight = np.concatenate([layer.weight, none], axis=1).reshape(directions, -1, features)
    bias = layer.bias.reshape(directions, -1)
    kind = spec.LSTM if layer.kind == "LSTM" else spec.GRU
    return kind(
        layer.inputs,
        layer.output,
        weight,
        layer.recurrence.reshape(directions, -1, size),
        np.concatenate([np.zeros_like(bias), bias], axis=1),
        layer.reverse,
        layer.hidden,
        getattr(layer, "cell", np.zeros_like(layer.hidden)),
        layer.last,
        layer.computed,
        getattr(layer, "reset_behind", False),
        None if (seen := layer.arrays.get("peepholes")) is None else seen.reshape(directions, -1),
        tuple((one.name, dict(one.options)) for one in layer.functions),
    )


MAKERS: dict[str, Callable[[Any], Op]] = {
    "Dense": lambda x: spec.Dense(x.inputs, x.output, x.weight, x.bias),
    "Conv": lambda x: spec.Conv(
        x.inputs, x.output, x.weight, x.bias, x.window.strides, _pads(x.window), x.window.dilations, x.groups
    ),
    "ConvTranspose": _transposed,
    "MaxPool": lambda x: spec.MaxPool(
        x.inputs,
        x.output,
        x.window.kernel,
        x.window.strides,
        _pads(x.window),
        x.window.dilations,
        x.ceil_mode,
    ),
    "AveragePool": lambda x: spec.AveragePool(
        x.inputs,
        x.output,
        x.window.kernel,
        x.window.strides,
        _pads(x.window),
        x.ceil_mode,
        x.count_include_pad,
        x.window.dilations,
    ),
    "TokenDense": lambda x: spec.TokenDense(x.inputs, x.output, x.weight, x.bias, x.axis, x.inner),
    **dict.fromkeys(("LSTM", "GRU"), _recurrent),
    "Norm": _norm,
    "Reduce": lambda x: spec.Reduce(x.inputs, x.output, x.over, x.total),
    "Gate": lambda x: spec.Gate(x.inputs, x.output, x.function),
    "Attention": lambda x: spec.Attention(x.inputs, x.output, x.heads),
    "SoftmaxWeights": lambda x: spec.SoftmaxWeights(x.inputs, x.output, x.axis),
    "Scores": lambda x: spec.Scores(x.inputs, x.output),
    "Extremum": lambda x: spec.Extremum(x.inputs, x.output, x.function),
    "Negative": lambda x: spec.Negative(x.inputs, x.output),
    "Difference": lambda x: spec.Difference(x.inputs, x.output),
    "GlobalAveragePool": lambda x: spec.GlobalAveragePool(x.inputs, x.output),
    "Affine": _affine,
    "Activation": _activation,
    "Add": lambda x: spec.Add(x.inputs, x.output),
    "Concat": lambda x: spec.Concat(x.inputs, x.output, x.axis),
    "Slice": lambda x: spec.Slice(x.inputs, x.output, x.begin, x.end),
    "Gather": lambda x: spec.Gather(
        x.inputs, x.output, tuple(None if pick is None else tuple(int(i) for i in pick) for pick in x.picks)
    ),
    "Where": lambda x: spec.Where(
        x.inputs, x.output, np.broadcast_to(x.mask_set, x.out_shape), float(np.ravel(x.fill)[0])
    ),
    "Resize": lambda x: spec.Resize(x.inputs, x.output, x.out_shape[1:], x.mode, x.coordinates, x.rounding),
    "Pad": lambda x: spec.Pad(x.inputs, x.output, x.begin, x.end, x.value),
    "Reshape": lambda x: spec.Reshape(x.inputs, x.output, x.out_shape),
    "Transpose": lambda x: spec.Transpose(x.inputs, x.output, x.perm),
}


def ops_of(net: mr.Network) -> list[Op]:
    """The network as ops; a scale given by a file must be the quotient of the sizes."""
    return [MAKERS[layer.kind](layer) for layer in net.layers]
