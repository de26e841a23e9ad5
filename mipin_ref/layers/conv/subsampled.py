"""A strided convolution as stride-1 convolutions of its input's interleaved parts: numbers only.

Along one axis location j of the output reads i = j·stride - begin + u·dilation for tap u. Taps that are stride / gcd
apart read the same of `stride` interleaved parts of the input, x_r[q] = x[q·stride + r], at q = j + shift + v·step: the
v-th of them. With taps counted from the last, that is where the adjoint of a convolution of stride 1 takes x_r from.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from mipin_ref.layers.kind import Shape
from mipin_ref.window import Window


@dataclass(frozen=True)
class AxisPart:
    """Taps first, first + apart, … of the kernel, `taps` of them, and what they read of one axis of the input.

    read: of the input, a strided slice; before, behind: zeros around it; begin, step: the padding and dilation of the
    stride-1 convolution whose adjoint has these regressors, its taps counted from the last.
    """

    first: int
    apart: int
    taps: int
    read: slice
    before: int
    locations: int
    begin: int
    step: int


def axis_parts(window: Window, axis: int, length: int, size: int) -> list[AxisPart]:
    """The parts of one axis of a convolution from `length` input locations to `size` output locations."""
    kernel, stride, begin, dilation = (
        numbers[axis] for numbers in (window.kernel, window.strides, window.begin, window.dilations)
    )
    apart, found = stride // gcd(stride, dilation), []
    for first in range(min(apart, kernel)):
        taps = len(range(first, kernel, apart))
        shift, phase = divmod(first * dilation - begin, stride)
        step = apart * dilation // stride
        reach = shift + (taps - 1) * step
        # Where the padding is wider than the window the first locations see nothing: zeros stand in front.
        before = max(0, -reach)
        read = min(max(0, -(-(length - phase) // stride)), max(0, reach + size))
        if read:
            lone = taps == 1 and reach + before == 0
            locations = max(before + read, size) if lone else before + read
            taken = slice(phase, phase + (read - 1) * stride + 1, stride)
            found.append(AxisPart(first, apart, taps, taken, before, locations, reach + before, step))
    return found


def window_of(parts: tuple[AxisPart, ...]) -> Window:
    """The stride-1 window of a part of all axes."""
    ones = (1,) * len(parts)
    return Window(
        tuple(part.taps for part in parts),
        ones,
        tuple(part.begin for part in parts),
        tuple(0 for _ in parts),
        tuple(part.step if part.taps > 1 else 1 for part in parts),
    )


def taps_of(parts: tuple[AxisPart, ...]) -> tuple[slice, ...]:
    """Where the taps of a part lie in the kernel."""
    return tuple(slice(part.first, None, part.apart) for part in parts)


def locations_of(parts: tuple[AxisPart, ...]) -> Shape:
    """The lengths of what a part reads, zeros included."""
    return tuple(part.locations for part in parts)
