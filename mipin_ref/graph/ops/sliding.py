"""Operators that slide a window over the map: Conv, MaxPool, AveragePool."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.mean import add_mean
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.layers import AveragePool, Conv, MaxPool, Shape
from mipin_ref.window import Window

MAX_EXTENT = 1 << 20
"""Locations along one axis that a window or its padding may span: more is no map, but a hostile file."""

MAX_TAPS = 1 << 14
"""Locations under one window: each is a step of its own."""

MAX_AXIS_TAPS = 1 << 11
"""The same along one axis of a convolution, where every two meet."""

MAX_MEETINGS = 1 << 22
"""Pairs of taps that meet at locations beyond the input."""


@handles("Conv")
def conv(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    weight = draft.weight(node.inputs[1])
    if weight.ndim != len(x.shape) or weight.ndim < 3:
        raise Refused(f"weight {weight.shape} does not fit an input of rank {len(x.shape)}")
    groups = int(node.attributes.get("group", 1))
    if groups < 1 or weight.shape[1] * groups != x.shape[1] or weight.shape[0] % groups:
        raise Refused(f"weight {weight.shape} with {groups} groups does not fit {x.shape[1]} channels")
    kernel = weight.shape[2:]
    if tuple(node.attributes.get("kernel_shape") or kernel) != kernel:
        raise Refused(f"kernel_shape {node.attributes['kernel_shape']} is not that of its weight {weight.shape}")
    bias = draft.weight(node.inputs[2]) if node.input(2) else np.zeros(weight.shape[0], weight.dtype)
    if bias.shape != weight.shape[:1]:
        raise Refused(f"bias {bias.shape} does not fit weight {weight.shape}")
    window = _window(node, x.shape[2:], kernel)
    size = window.output_size(x.shape[2:])
    _check_size(size)
    _check_taps(window)
    if max(kernel) > MAX_AXIS_TAPS or max(window.meetings(size, x.shape[2:])) > MAX_MEETINGS:
        raise Refused(f"a window of {window.describe()} on a map of {'×'.join(map(str, x.shape[2:]))} is too much work")
    draft.add(
        Conv(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=(weight.shape[0], *size),
            weight=weight,
            bias=bias,
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
    if not len(strides) == len(dilations) == len(size) == rank or len(pads) != 2 * rank:
        raise Refused("strides, dilations or pads do not fit the rank of the input")
    if min(strides + dilations + tuple(kernel)) < 1:
        raise Refused("a stride, dilation or kernel below 1")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, s, k, d in zip(size, strides, kernel, dilations, strict=True)
        ]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        begin, end = (small, large) if auto == "SAME_UPPER" else (large, small)
    elif auto == "VALID":
        begin, end = [0] * rank, [0] * rank
    elif auto in ("NOTSET", ""):
        begin, end = list(pads[:rank]), list(pads[rank:])
    else:
        raise Refused(f"auto_pad {auto}")
    if min(begin + end) < 0:
        raise Refused("negative padding")
    window = Window(tuple(kernel), strides, tuple(begin), tuple(end), dilations)
    if max(*window.extent, *begin, *end) > MAX_EXTENT:
        raise Refused(f"its window or padding spans {max(*window.extent, *begin, *end)} locations")
    return window.clamped(size)


def _check_taps(window: Window) -> None:
    if window.taps > MAX_TAPS:
        raise Refused(f"its window of {window.taps:,} locations is larger than the {MAX_TAPS:,} that are supported")


def _check_size(size: Shape) -> None:
    if min(size) < 1:
        raise Refused(f"its output would have the empty size {size}")


@handles("MaxPool")
def max_pool(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    window, ceil_mode, size = _pool(node, x)
    _check_taps(window)
    if any(b >= e or f >= e for b, f, e in zip(window.begin, window.end, window.extent, strict=True)):
        raise Refused("its padding is as wide as its window")
    draft.add(
        MaxPool(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=(x.shape[1], *size),
            window=window,
            ceil_mode=ceil_mode,
        )
    )


@handles("AveragePool")
def average_pool(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    window, ceil_mode, size = _pool(node, x)
    if any(b >= k or f >= k for b, f, k in zip(window.begin, window.end, window.kernel, strict=True)):
        raise Refused("its padding is as wide as its kernel, which onnxruntime does not run")
    if window.taps > MAX_TAPS and window.kernel == x.shape[2:] and not any(window.begin + window.end):
        add_mean(node, draft, x, (x.shape[1], *size))
        return
    _check_taps(window)
    draft.add(
        AveragePool(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=(x.shape[1], *size),
            window=window,
            ceil_mode=ceil_mode,
            count_include_pad=bool(node.attributes.get("count_include_pad", 0)),
        )
    )


def _pool(node: Node, x: Signal) -> tuple[Window, bool, Shape]:
    """Window, ceil_mode and the size of the output map."""
    kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
    if len(kernel) != len(x.shape) - 2:
        raise Refused(f"kernel {kernel} does not fit an input of rank {len(x.shape)}")
    window = _window(node, x.shape[2:], kernel)
    if str(node.attributes.get("auto_pad", "")).startswith("SAME") and set(window.dilations) != {1}:
        raise Refused("on auto_pad SAME with dilation onnxruntime and the ONNX standard disagree")
    ceil_mode = bool(node.attributes.get("ceil_mode", 0))
    size = window.output_size(x.shape[2:], ceil_mode=ceil_mode)
    _check_size(size)
    _check_windows_see_input(window, x.shape[2:], size)
    return window, ceil_mode, size


def _check_windows_see_input(window: Window, size: Shape, out: Shape) -> None:
    for n, k, s, b, d, j in zip(size, window.kernel, window.strides, window.begin, window.dilations, out, strict=True):
        # Only windows that begin in front of the map, and the last, can miss it: their taps lie d apart.
        for first in [*range(-b, 0, s)[:j], (j - 1) * s - b]:
            tap = -(first // d) if first < 0 else 0
            if tap >= k or first + tap * d >= n:
                raise Refused("one of its windows sees nothing but padding")
