"""The switches of a max-pool written as ONNX: in a file for others by operators that every runtime has, neither
MaxUnpool nor Indices; where onnxruntime alone runs it, as recorded.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from mipin_ref.layers.conv.emit_adjoint import NEAREST, emit_spread
from mipin_ref.layers.kind import BackWriter, Shape
from mipin_ref.window import Window

LOWEST = float(np.finfo(np.float32).min)
"""What stands around a map: no value is smaller."""


def tiles(window: Window) -> bool:
    """Whether the windows lie side by side, without gaps or overlaps."""
    return window.kernel == window.strides and set(window.dilations) == {1}


def emit_switches(
    writer: BackWriter, source: str, pooled: str, window: Window, in_shape: Shape, out_shape: Shape, ceil_mode: bool
) -> str:
    """Ones where a window took its value from, the first of equals, else zeros.

    Told from values, of windows that tile the map [n, *in_shape]; else [n, C, taps, *map], the taps in C order.
    """
    locations, taps, place = out_shape[1:], window.taps, writer.whole("tap axis", 2)
    if not writer.portable:
        numbers = writer.weight("numbers", np.arange(float(taps)).reshape(1, 1, -1, *(1,) * len(locations)))
        equal = writer.append(
            "Equal", [writer.append("Unsqueeze", [writer.switches("taps"), place], "won"), numbers], "equal"
        )
        return writer.ones(equal, "switches")
    x, most = writer.value(source), writer.value(pooled)
    if tiles(window):
        return _tiled(writer, x, most, window, in_shape, out_shape, ceil_mode)
    whole = window.padded(locations, in_shape[1:])
    behind = [w - b - n for w, b, n in zip(whole, window.begin, in_shape[1:], strict=True)]
    around = writer.whole("around", 0, 0, *window.begin, 0, 0, *behind)
    canvas = writer.append("Pad", [x, around, writer.weight("lowest", LOWEST)], "canvas")
    axes, strides = writer.whole("map axes", *range(2, 2 + len(locations))), writer.whole("strides", *window.strides)
    parts = []
    for tap, offset in enumerate(window.offsets):
        cut = window.spread(offset, locations)
        begin, end = (
            writer.whole(f"{role} {tap}", *where)
            for role, where in (("from", [c.start for c in cut]), ("to", [c.stop for c in cut]))
        )
        taken = writer.append("Slice", [canvas, begin, end, axes, strides], f"tap {tap}")
        parts.append(writer.append("Unsqueeze", [taken, place], f"one tap {tap}"))
    values = writer.append("Concat", parts, "taps", axis=2)
    equal = writer.append("Equal", [values, writer.append("Unsqueeze", [most, place], "most")], "equal")
    ramp = writer.weight("ramp", np.arange(taps, 0, -1.0).reshape(1, 1, -1, *(1,) * len(locations)))
    ranked = writer.append("Mul", [writer.ones(equal, "equals"), ramp], "ranked")
    best = writer.append("ReduceMax", [ranked, place], "best", keepdims=1)
    return writer.ones(writer.append("Equal", [ranked, best], "first"), "switches")


def emit_unpool(
    writer: BackWriter,
    signal: str,
    window: Window,
    in_shape: Shape,
    out_shape: Shape,
    *,
    overlaps: Literal["mean", "sum"] = "mean",
) -> str:
    """Write `unpool` as ONNX with the state of `emit_switches`: signals [2n, *out_shape] -> [2n, *in_shape]."""
    locations = out_shape[1:]
    if not window.overlapping and not writer.portable:
        rows = writer.append("Shape", [signal], "rows", start=0, end=1)
        made = writer.append("Concat", [rows, writer.whole("in shape", *in_shape)], "whole", axis=0)
        # The geometry only tells how large the result is at least.
        ones = (1,) * len(locations)
        return writer.append(
            "MaxUnpool", [signal, writer.switches("places"), made], "back", kernel_shape=ones, strides=ones
        )
    if tiles(window):
        return writer.times(_upsampled(writer, signal, window, in_shape, out_shape), writer.state(), in_shape)
    taps = window.taps
    place = writer.whole("tap axis", 2)
    values = writer.append("Unsqueeze", [signal, place], "values")
    whole = (in_shape[0], taps, *locations)
    put = writer.times(values, writer.state(), (in_shape[0], 1, *locations), whole)
    one_hot = np.eye(taps).reshape(taps, 1, *window.kernel)
    back = _spread(writer, put, "signal", one_hot, window, in_shape, out_shape)
    if not window.overlapping or overlaps == "sum":
        return back
    count = _spread(writer, writer.state(), "count", one_hot, window, in_shape, out_shape)
    share = writer.append(
        "Reciprocal", [writer.append("Max", [count, writer.weight("one", 1.0)], "at least one")], "share"
    )
    return writer.times(back, share, in_shape)


def _spread(
    writer: BackWriter, values: str, role: str, one_hot: object, window: Window, in_shape: Shape, out_shape: Shape
) -> str:
    """Values of taps [k, C, taps, *map], each where its tap lies, summed [k, *in_shape]."""
    size, locations = in_shape[1:], out_shape[1:]
    lone = writer.append("Reshape", [values, writer.whole("a map each", -1, window.taps, *locations)], f"{role} maps")
    kernel = writer.weight("one-hot", one_hot)  # type: ignore[arg-type]
    spread = emit_spread(writer, lone, kernel, window, locations, size)
    return writer.append("Reshape", [spread, writer.whole("in shape", -1, *in_shape)], f"{role} back")


def _tiled(
    writer: BackWriter, x: str, most: str, window: Window, in_shape: Shape, out_shape: Shape, ceil_mode: bool
) -> str:
    size = in_shape[1:]
    most = writer.append("Reshape", [most, writer.whole("lone", -1, 1, *out_shape[1:])], "most lone")
    wide = _upsampled(writer, most, window, (1, *size), (1, *out_shape[1:]))
    x = writer.append("Reshape", [x, writer.whole("lone", -1, 1, *size)], "x lone")
    equal = writer.ones(writer.append("Equal", [x, wide], "equal"), "equals")
    taps = np.zeros(size)
    for axis, (length, begin) in enumerate(zip(size, window.begin, strict=True)):
        along = (np.arange(length) + begin) % window.kernel[axis]
        taps = taps * window.kernel[axis] + along.reshape((-1,) + (1,) * (len(size) - 1 - axis))
    ranked = writer.append("Mul", [equal, writer.weight("ramp", (window.taps - taps)[None, None])], "ranked")
    lone = writer.append("Reshape", [ranked, writer.whole("map each", -1, 1, *size)], "lone")
    best = writer.append("MaxPool", [lone], "best", ceil_mode=int(ceil_mode), **_geometry(window))
    # Ranks are whole numbers: less one that is below the best of its window, none is left of any but the first.
    less = writer.append("Sub", [best, writer.weight("one", 1.0)], "less")
    above = writer.append("Sub", [lone, _upsampled(writer, less, window, (1, *size), (1, *out_shape[1:]))], "above")
    switches = writer.append("Relu", [above], "relu")
    return writer.append("Reshape", [switches, writer.whole("in shape", -1, *in_shape)], "switches")


def _geometry(window: Window) -> dict[str, object]:
    return {role: value for role, value in window.attributes.items() if role != "dilations"}


def _upsampled(writer: BackWriter, values: str, window: Window, in_shape: Shape, out_shape: Shape) -> str:
    """Values [k, *out_shape] at all locations under their windows [k, *in_shape], zero where there is none."""
    size = in_shape[1:]
    flat = len(size) == 1
    if flat:
        # Some runtimes resize images alone.
        values = writer.append("Reshape", [values, writer.whole("image", -1, *out_shape, 1)], "image")
    scales = writer.single("scales", 1.0, 1.0, *(float(s) for s in window.strides), *([1.0] if flat else []))
    wide = writer.append("Resize", [values, "", scales], "wide", **NEAREST)
    if flat:
        length = out_shape[1] * window.strides[0]
        wide = writer.append("Reshape", [wide, writer.whole("line", -1, out_shape[0], length)], "line")
    reached = [j * s - b for j, s, b in zip(out_shape[1:], window.strides, window.begin, strict=True)]
    rank = len(size)
    if any(window.begin) or any(r > n for r, n in zip(reached, size, strict=True)):
        begin = writer.whole("inside from", *window.begin)
        ends = [b + min(r, n) for b, r, n in zip(window.begin, reached, size, strict=True)]
        wide = writer.append(
            "Slice",
            [wide, begin, writer.whole("inside to", *ends), writer.whole("map axes", *range(2, 2 + rank))],
            "inside",
        )
    missing = [max(0, n - r) for r, n in zip(reached, size, strict=True)]
    if any(missing):
        around = writer.whole("behind", *(0,) * (2 + rank), 0, 0, *missing)
        wide = writer.append("Pad", [wide, around], "whole")
    return wide
