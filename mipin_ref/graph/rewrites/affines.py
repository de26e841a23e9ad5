"""Constant scales and shifts fold into the Conv or Dense before or behind them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import (
    Affine,
    Conv,
    ConvTranspose,
    Dense,
    HostArray,
    Norm,
    Reshape,
    Shape,
    TokenDense,
    Transpose,
    Wired,
)


def fold_affines(wiring: Wiring) -> None:
    """Fold each Affine into the layer before it, else into the one behind, past Reshape and Transpose.

    Only where nobody else reads a tensor on the way: its values change. What cannot be folded stays a layer.
    """
    for fold in (_fold_up, _fold_down):
        for name in [layer.output for layer in wiring.layers if isinstance(layer, Affine)]:
            fold(wiring, name)


def settle_affines(wiring: Wiring, dtype: np.dtype[Any]) -> None:
    """Bring Affines that stay, and Norms, to the network's dtype, of length one on axes where they do not vary."""
    for layer in wiring.layers:
        if isinstance(layer, Affine | Norm):
            scale, shift = (_trimmed(value).astype(dtype) for value in (layer.scale, layer.shift))
            wiring.replace(replace(layer, scale=scale, shift=shift))


def stretch(layer: Wired) -> float:
    """By how much a layer that is folded makes differences larger at most: an Affine by its scale, others not."""
    return float(np.max(np.abs(layer.scale), initial=0.0)) if isinstance(layer, Affine) else 1.0


def _fold_up(wiring: Wiring, tensor: str) -> None:
    affine = wiring.maker(tensor)
    assert isinstance(affine, Affine)
    scale, shift = affine.scale, affine.shift
    changed = [affine.input]
    while wiring.sole_reader(changed[-1]) is not None:
        layer = wiring.maker(changed[-1])
        if isinstance(layer, Transpose):
            inverse = [int(i) for i in np.argsort(layer.perm)]
            scale, shift = (np.transpose(v[None], inverse)[0] for v in (scale, shift))
            changed.append(layer.input)
        elif isinstance(layer, Reshape):
            scale, shift = (np.broadcast_to(v, layer.out_shape).reshape(layer.in_shape) for v in (scale, shift))
            changed.append(layer.input)
        else:
            folded = None if layer is None else scaled_output(layer, scale, shift)
            if folded is not None:
                wiring.replace(folded)
                wiring.take_out(tensor)
                wiring.rename(changed[0], tensor)
                for name in changed[1:]:
                    wiring.disown(name, "scaled")
            return


def _fold_down(wiring: Wiring, tensor: str) -> None:
    affine = wiring.maker(tensor)
    assert isinstance(affine, Affine)
    scale, shift = affine.scale, affine.shift
    changed = [tensor]
    while (layer := wiring.sole_reader(changed[-1])) is not None:
        if isinstance(layer, Transpose):
            scale, shift = (np.transpose(v[None], layer.perm)[0] for v in (scale, shift))
            changed.append(layer.output)
        elif isinstance(layer, Reshape):
            scale, shift = (np.broadcast_to(v, layer.in_shape).reshape(layer.out_shape) for v in (scale, shift))
            changed.append(layer.output)
        else:
            folded = _scaled_input(layer, scale, shift)
            if folded is not None:
                wiring.replace(folded)
                wiring.take_out(tensor)
                for name in changed[1:]:
                    wiring.disown(name, "unscaled")
            return


def scaled_output(layer: Wired, scale: HostArray, shift: HostArray) -> Wired | None:
    """The layer whose output is `scale` times that of `layer`, plus `shift`; None where its kind cannot say so."""
    if isinstance(layer, Dense):
        a, b = (np.broadcast_to(v, layer.out_shape) for v in (scale, shift))
        return _weighted(layer, _times(layer.weight, a), layer.bias * a + b)
    if isinstance(layer, Conv):
        a_channel, b_channel = (_per_channel(v, layer.out_shape) for v in (scale, shift))
        if a_channel is None or b_channel is None:
            return None
        spread = a_channel.reshape(-1, *(1,) * (layer.weight.ndim - 1))
        return _weighted(layer, _times(layer.weight, spread), layer.bias * a_channel + b_channel)
    if isinstance(layer, ConvTranspose):
        a_channel, b_channel = (_per_channel(v, layer.out_shape) for v in (scale, shift))
        if a_channel is None or b_channel is None:
            return None
        per_input = np.repeat(a_channel.reshape(layer.groups, -1), layer.weight.shape[0] // layer.groups, axis=0)
        by_output = per_input.reshape(*layer.weight.shape[:2], *(1,) * (layer.weight.ndim - 2))
        return _weighted(layer, _times(layer.weight, by_output), layer.bias * a_channel + b_channel)
    if isinstance(layer, TokenDense):
        a_channel, b_channel = (_per_channel(v, layer.out_shape, layer.axis) for v in (scale, shift))
        if a_channel is None or b_channel is None:
            return None
        return _weighted(layer, _times(layer.weight, a_channel), layer.bias * a_channel + b_channel)
    if isinstance(layer, Norm):
        # They are a part of it (method, section 10).
        return replace(
            layer,
            scale=layer.scale * scale,
            shift=layer.shift * scale + shift,
            axis=_scaled_axis(layer, scale),
        )
    if isinstance(layer, Affine):
        return replace(layer, scale=layer.scale * scale, shift=layer.shift * scale + shift)
    return None


def _scaled_axis(norm: Norm, scale: HostArray) -> int:
    """The axis of the channels of a Norm that had no scale, by the one that it gets: normalised over one axis and
    scaled along another, it is an InstanceNorm and no LayerNorm.
    """
    varies = [axis for axis, length in enumerate(_trimmed(scale).shape, 1) if length > 1]
    if norm.over == (norm.axis,) and norm.scale.size == 1 and len(varies) == 1:
        return varies[0]
    return norm.axis


def _scaled_input(layer: Wired, scale: HostArray, shift: HostArray) -> Wired | None:
    """The layer that computes from x what `layer` does from x · scale + shift; None where its kind cannot say so."""
    if isinstance(layer, Dense):
        a, b = (np.broadcast_to(v, layer.in_shape) for v in (scale, shift))
        bias = layer.bias + b @ layer.weight.astype(np.float64)
        return _weighted(layer, _times(layer.weight, a[:, None]), bias)
    if isinstance(layer, TokenDense):
        a_channel, b_channel = (_per_channel(v, layer.in_shape, layer.axis) for v in (scale, shift))
        if a_channel is None or b_channel is None:
            return None
        bias = layer.bias + b_channel @ layer.weight.astype(np.float64)
        return _weighted(layer, _times(layer.weight, a_channel[:, None]), bias)
    if isinstance(layer, Conv):
        a_channel, b_channel = (_per_channel(v, layer.in_shape) for v in (scale, shift))
        padded = any(layer.window.begin) or any(layer.window.end)
        # A padded location is zero after the shift, so no bias per channel can stand for it.
        if a_channel is None or b_channel is None or (padded and np.any(b_channel)):
            return None
        spread = (layer.weight.shape[0], -1, *(1,) * (layer.weight.ndim - 2))
        per_output = layer.weight.shape[0] // layer.groups
        a, b = (
            np.repeat(v.reshape(layer.groups, -1), per_output, axis=0).reshape(spread) for v in (a_channel, b_channel)
        )
        bias = layer.bias + (layer.weight * b).sum(axis=tuple(range(1, layer.weight.ndim)))
        return _weighted(layer, _times(layer.weight, a), bias)
    if isinstance(layer, ConvTranspose) and not np.any(shift):
        # How many taps reach an output differs from place to place, so no bias can stand for a shift.
        a_channel = _per_channel(scale, layer.in_shape)
        if a_channel is not None:
            by_input = a_channel.reshape(-1, *(1,) * (layer.weight.ndim - 1))
            return _weighted(layer, _times(layer.weight, by_input), layer.bias)
    return None


def _per_channel(value: HostArray, shape: Shape, axis: int = 1) -> HostArray | None:
    """A constant of the per-sample shape as one value a channel [C]; None where it varies inside a channel.

    axis: of the channels, counted with the batch.
    """
    value = np.moveaxis(_trimmed(value), axis - 1, 0)
    if any(d != 1 for d in value.shape[1:]):
        return None
    return np.broadcast_to(value.reshape(value.shape[0]), shape[axis - 1 : axis])


def _trimmed(value: HostArray) -> HostArray:
    for axis in range(value.ndim):
        first = value.take([0], axis)
        if np.all(value == first):
            value = first
    return value


def _times(weight: HostArray, factor: HostArray) -> HostArray:
    # A bias alone is the common case, and the weight may be large.
    return weight if np.all(factor == 1) else weight * factor


def _weighted(layer: Conv | ConvTranspose | Dense | TokenDense, weight: HostArray, bias: HostArray) -> Wired:
    dtype = layer.weight.dtype
    return replace(layer, weight=weight.astype(dtype, copy=False), bias=bias.astype(dtype, copy=False))
