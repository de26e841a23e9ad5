"""Which channel each element is of in a map that a Dense reads flat, for weights a channel (`share_locations`)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import get_backend
from mipin_ref.graph.network import Network
from mipin_ref.layers import Layer, Shape

Channels = npt.NDArray[np.int64]
"""By element, which channel it is of, counted from 0."""


def flattened_map(net: Network, name: str, is_input: Collection[str]) -> Channels | None:
    """The channels [features] that the elements of a flat tensor are of, where it is a map whose locations can share.

    None where it is none: features that a layer made flat, the network's input (of `is_input`: a weight for all pixels
    would say nothing of a pixel), several maps side by side, a part of a map with more elements of one channel than of
    another, or one element a channel.
    """
    (features,) = net.shapes[name]
    made = _traced(net, name, is_input)
    if made is None:
        return None
    _, channels, counts = np.unique(made, return_inverse=True, return_counts=True)
    alike = len(set(counts.tolist())) == 1 and counts[0] > 1
    return channels.reshape(features).astype(np.int64) if alike else None


def _traced(net: Network, name: str, is_input: Collection[str]) -> Channels | None:
    """The channel of each element of a tensor [*shape]: as layers around it tell the axis, else as moves bring it here.

    Moves are followed up to the first tensor of which a layer tells it: so a map transposed in front of its Flatten, or
    one reshaped twice, has the channels that it was made with.
    """
    if name in is_input:
        return None
    shape, axis = net.shapes[name], net.told_axis(name)
    if len(shape) > 1 and axis is not None:
        return _along(shape, axis)
    maker = next((layer for layer in net.layers if layer.output == name), None)
    if maker is not None and (maker.rearranges or maker.hands_on or maker.cut is not None):
        above = [_traced(net, each, is_input) for each in maker.inputs]
        moved = [_moved(maker, one) for one in above if one is not None]
        if moved:
            return moved[0] if all(np.array_equal(one, moved[0]) for one in moved) else None
    return _along(shape, net.channel_axis(name) or 1) if len(shape) > 1 else None


def _along(shape: Shape, axis: int) -> Channels:
    """The places along an axis, counted with the batch, at every location [*shape]."""
    places = np.arange(shape[axis - 1], dtype=np.int64)
    return np.broadcast_to(places.reshape(-1, *(1,) * (len(shape) - axis)), shape)


def _moved(layer: Layer, channels: Channels) -> Channels:
    """What a layer that moves values makes of their channels; one that keeps each in its place leaves them."""
    if layer.rearranges or layer.cut is not None:
        return np.asarray(layer.forward(get_backend(), [channels[None]])[0], np.int64)
    return np.broadcast_to(channels, layer.out_shape)
