"""The adjoint of a convolution, and of a transposed one, written as ONNX with a fitted kernel."""

from __future__ import annotations

import numpy as np

from mipin_ref.layers.kind import BackWriter, HostArray, Shape
from mipin_ref.window import Window

NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
"""Options of a Resize that copies each value to the locations behind it."""

LARGE = 16
"""Taps from which on a strided convolution of lone channels is faster as one of the signal with zeros in between."""
WIDE = 16
"""Channels from which on a convolution with the kernel turned is faster in onnxruntime than ConvTranspose."""


def emit_adjoint(
    writer: BackWriter, signal: str, window: Window, groups: int, shape: Shape, locations: Shape, size: Shape
) -> str:
    """Write `conv_adjoint` as ONNX: signals [2n, o, *locations] -> [2n, m, *size].

    shape: of the kernel [o, m / groups, *kernel]. A convolution of stride 1 with the kernel turned is the same, and so
    is one of the signal with zeros in between.
    """
    lone = shape[0] == groups and shape[1] == 1 and len(size) > 1 and (writer.portable or window.taps >= LARGE)
    dense = set(window.strides) == {1}
    # The reference evaluator of onnx 1.23 gets a ConvTranspose of several groups wrong.
    if (dense and (groups > 1 or shape[1] >= WIDE)) or lone:
        filled = tuple(j * s for j, s in zip(locations, window.strides, strict=True))
        before = tuple(e - 1 - b for e, b in zip(window.extent, window.begin, strict=True))
        behind = tuple(n + b - j for n, b, j in zip(size, window.begin, filled, strict=True))
        if min(before) >= 0 and min(behind) >= 0:
            apart = signal if dense else _apart(writer, signal, window.strides, locations)
            block = writer.block(lambda kernel: turned(kernel, groups))
            pads = before + behind
            return writer.append("Conv", [apart, block], "back", group=groups, pads=pads, dilations=window.dilations)
    return emit_spread(writer, signal, writer.block(lambda kernel: kernel), window, locations, size, groups)


def turned(kernel: HostArray, groups: int) -> HostArray:
    """kernel [o, m / groups, *kernel] -> [m, o / groups, *kernel], each tap where the opposite one was."""
    outputs, inputs, *taps = kernel.shape
    parts = kernel.reshape(groups, outputs // groups, inputs, *taps).swapaxes(1, 2)
    return np.flip(parts.reshape(groups * inputs, outputs // groups, *taps), tuple(range(2, kernel.ndim)))


def emit_spread(
    writer: BackWriter,
    signal: str,
    kernel: str,
    window: Window,
    locations: Shape,
    size: Shape,
    groups: int = 1,
) -> str:
    """Write a ConvTranspose of signals [k, o, *locations] to the grid of `size`, what lies outside cut off."""
    reached = [
        (j - 1) * s + e - b for j, s, e, b in zip(locations, window.strides, window.extent, window.begin, strict=True)
    ]
    behind = tuple(max(0, r - n) for r, n in zip(reached, size, strict=True))
    missing = tuple(max(0, n - r) for r, n in zip(reached, size, strict=True))
    geometry = {"strides": window.strides, "dilations": window.dilations, "pads": window.begin + behind}
    short = all(m < max(s, d) for m, s, d in zip(missing, window.strides, window.dilations, strict=True))
    if any(missing) and short:
        geometry["output_padding"] = missing
    spread = writer.append("ConvTranspose", [signal, kernel], "spread", group=groups, **geometry)
    if short:
        return spread
    # No operator takes so wide an output_padding.
    around = writer.whole("around", *(0,) * (2 + len(size)), 0, 0, *missing)
    return writer.append("Pad", [spread, around], "back")


def emit_conv(writer: BackWriter, signal: str, window: Window, groups: int, size: Shape, locations: Shape) -> str:
    """Write `conv_forward` as ONNX: signals [2n, o, *size] -> [2n, m, *locations], by the fitted kernel."""
    pairs = zip(locations, window.strides, window.extent, window.begin, size, strict=True)
    missing = [(j - 1) * s + e - b - n for j, s, e, b, n in pairs]
    pads = window.begin + tuple(max(0, m) for m in missing)
    geometry = {"strides": window.strides, "dilations": window.dilations, "pads": pads}
    block = writer.block(lambda kernel: kernel)
    made = writer.append("Conv", [signal, block], "made", group=groups, **geometry)
    if all(-m < s for m, s in zip(missing, window.strides, strict=True)):
        return made
    rank = len(locations)
    axes = writer.whole("axes", *range(2, 2 + rank))
    return writer.append(
        "Slice", [made, writer.whole("first", *(0,) * rank), writer.whole("last", *locations), axes], "back"
    )


def _apart(writer: BackWriter, signal: str, strides: Shape, locations: Shape) -> str:
    """The signals [k, channels, *locations] with as many zeros behind each as a stride leaves out."""
    scales = writer.single("scales", 1.0, 1.0, *(float(s) for s in strides))
    wide = writer.append("Resize", [signal, "", scales], "wide", **NEAREST)
    lattice = np.zeros([j * s for j, s in zip(locations, strides, strict=True)])
    lattice[tuple(slice(None, None, s) for s in strides)] = 1
    return writer.append("Mul", [wide, writer.weight("lattice", lattice[None, None])], "apart")
