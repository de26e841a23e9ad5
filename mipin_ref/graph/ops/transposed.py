"""The transposed convolution."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.draft import Draft, Refused
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.graph.ops.sliding import MAX_AXIS_TAPS, MAX_EXTENT, MAX_MEETINGS, MAX_TAPS
from mipin_ref.layers import ConvTranspose, Shape
from mipin_ref.window import Window


@handles("ConvTranspose")
def conv_transpose(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    weight = draft.weight(node.inputs[1])
    if weight.ndim != len(x.shape) or weight.ndim < 3:
        raise Refused(f"weight {weight.shape} does not fit an input of rank {len(x.shape)}")
    groups = int(node.attributes.get("group", 1))
    if groups < 1 or weight.shape[0] != x.shape[1] or weight.shape[0] % groups:
        raise Refused(f"weight {weight.shape} with {groups} groups does not fit {x.shape[1]} channels")
    kernel = weight.shape[2:]
    if tuple(node.attributes.get("kernel_shape") or kernel) != kernel:
        raise Refused(f"kernel_shape {node.attributes['kernel_shape']} is not that of its weight {weight.shape}")
    channels = weight.shape[1] * groups
    bias = draft.weight(node.inputs[2]) if node.input(2) else np.zeros(channels, weight.dtype)
    if bias.shape != (channels,):
        raise Refused(f"bias {bias.shape} does not fit weight {weight.shape}")
    window, size = _geometry(node, x.shape[2:], kernel)
    if min(size) < 1:
        raise Refused(f"its output would have the empty size {size}")
    if window.taps > MAX_TAPS or max(kernel) > MAX_AXIS_TAPS:
        raise Refused(f"its window of {window.taps:,} locations is larger than the {MAX_TAPS:,} that are supported")
    layer = ConvTranspose(
        name=layer_name(node),
        inputs=(x.name,),
        output=node.outputs[0],
        in_shapes=(x.sample,),
        out_shape=(channels, *size),
        weight=weight,
        bias=bias,
        window=window,
        groups=groups,
    )
    if layer.room > 1 << 26 or not layer.parts:
        raise Refused(f"a window of {window.describe()} on a map of {'×'.join(map(str, x.shape[2:]))} is too much work")
    if any(max(part.window.meetings(part.locations, x.shape[2:])) > MAX_MEETINGS for part in layer.parts):
        raise Refused(f"a window of {window.describe()} on a map of {'×'.join(map(str, x.shape[2:]))} is too much work")
    draft.add(layer)


def _geometry(node: Node, size: Shape, kernel: Shape) -> tuple[Window, Shape]:
    """The window of the convolution that reads the output, and the size of the output."""
    rank = len(kernel)
    strides, dilations, more = (
        tuple(int(v) for v in node.attributes.get(key) or (default,) * rank)
        for key, default in (("strides", 1), ("dilations", 1), ("output_padding", 0))
    )
    pads = tuple(int(p) for p in node.attributes.get("pads") or (0,) * (2 * rank))
    wanted = tuple(int(d) for d in node.attributes.get("output_shape") or ())[-rank:]
    auto = node.attributes.get("auto_pad", "NOTSET") or "NOTSET"
    if not len(strides) == len(dilations) == len(more) == len(size) == rank or len(pads) != 2 * rank:
        raise Refused("strides, dilations, output_padding or pads do not fit the rank of the input")
    if min(strides + dilations + tuple(kernel)) < 1 or min(more) < 0:
        raise Refused("a stride, dilation or kernel below 1, or an output_padding below 0")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise Refused(f"auto_pad {auto}")
    if wanted and len(wanted) != rank:
        raise Refused(f"output_shape {wanted} does not fit the rank of the input")
    begin, end, out = [], [], []
    for a in range(rank):
        whole = strides[a] * (size[a] - 1) + (kernel[a] - 1) * dilations[a] + 1 + more[a]
        if wanted or auto.startswith("SAME"):
            length = wanted[a] if wanted else size[a] * strides[a]
            total = max(0, whole - length)
            small, large = total // 2, total - total // 2
            first, last = (small, large) if auto == "SAME_UPPER" else (large, small)
        else:
            first, last = (0, 0) if auto == "VALID" else (pads[a], pads[rank + a])
            length = whole - first - last
        begin.append(first)
        end.append(last)
        out.append(length)
    if min(begin + end) < 0:
        raise Refused("negative padding")
    window = Window(tuple(kernel), strides, tuple(begin), tuple(end), dilations)
    if max(*window.extent, *begin, *end, *strides) > MAX_EXTENT:
        raise Refused("its window, stride or padding spans more locations than a map has")
    return window, tuple(out)
