"""Images with their channels in front, as torch has them, for networks that take them behind."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.layer_list import LayerList
from mipin_ref.layers import HostArray


def channels_behind(net: LayerList, x: HostArray) -> bool:
    """Whether samples x [N, C, ...] do not fit the network as they are, but do with their channels behind."""
    shape, axis = net.input_shape, net.channel_axis(net.input)
    return axis == len(shape) > 1 and x.ndim == len(shape) + 1 and x.shape[1:] != shape and behind(x).shape[1:] == shape


def behind(x: HostArray) -> HostArray:
    """Samples [N, C, ...] as [N, ..., C]."""
    return np.moveaxis(x, 1, -1)


def in_front(x: HostArray) -> HostArray:
    """Samples [N, ..., C] as [N, C, ...]."""
    return np.moveaxis(x, -1, 1)
