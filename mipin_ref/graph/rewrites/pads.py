"""Padding with zeros, in front of a MaxPool with minus infinity, dissolves into the window that slides over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf

from mipin_ref.graph.problem import Problem
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import AveragePool, Conv, MaxPool, Pad, Shape, Transpose, Wired
from mipin_ref.window import Window


def dissolve_pads(wiring: Wiring) -> None:
    """Take every Pad with zeros into the Conv or AveragePool behind it, one with minus infinity into the MaxPool, past
    Transposes, where nobody else reads it.
    """
    # From the end: a Pad in front of another meets the window once that one is gone.
    for layer in wiring.layers[::-1]:
        if isinstance(layer, Pad) and layer.value in (0, -inf):
            _dissolve(wiring, layer)


def settle_pads(wiring: Wiring, places: Mapping[str, int]) -> tuple[Problem, ...]:
    """Put a Gap in the place of each Pad with minus infinity that no MaxPool has taken up: no fit has a use for it.

    places: of the nodes of the file, by output. Returns why, for each.
    """
    problems = []
    for layer in [layer for layer in wiring.layers if isinstance(layer, Pad) and layer.value == -inf]:
        reason = "it pads with -inf, and what reads it is not one MaxPool alone, with a kernel wider than that"
        problem = Problem(f"Pad {layer.name!r}", reason, places.get(layer.output, 0))
        problems.append(problem)
        wiring.leave(layer, problem)
    return tuple(problems)


def _dissolve(wiring: Wiring, pad: Pad) -> None:
    begin, end = pad.begin, pad.end
    turns = []
    reader = wiring.sole_reader(pad.output)
    while isinstance(reader, Transpose):
        begin, end = _turned(begin, reader), _turned(end, reader)
        turns.append(reader)
        reader = wiring.sole_reader(reader.output)
    widened = None if reader is None or begin[0] or end[0] else _widened(reader, begin[1:], end[1:], pad.value)
    if widened is None:
        return
    wiring.replace(widened)
    wiring.take_out(pad.output)
    shape = pad.in_shape
    for turn in turns:
        shape = _turned(shape, turn)
        wiring.set_shape(turn.output, shape)
        wiring.disown(turn.output, "unpadded")


def _turned(values: Shape, turn: Transpose) -> Shape:
    return tuple(values[p - 1] for p in turn.perm[1:])


def _widened(layer: Wired, begin: Shape, end: Shape, value: float) -> Wired | None:
    """The layer with so much more padding of its own; None where that would be another function.

    onnxruntime runs no pool whose padding is as wide as its kernel.
    """
    if isinstance(layer, MaxPool) and value == -inf and not layer.ceil_mode:
        window = _more(layer.window, begin, end)
        return replace(layer, window=window) if _narrower(window) else None
    if value:
        return None
    if isinstance(layer, Conv):
        return replace(layer, window=_more(layer.window, begin, end))
    if isinstance(layer, AveragePool) and not layer.ceil_mode:
        window = _more(layer.window, begin, end)
        own = any(layer.window.begin) or any(layer.window.end)
        if _narrower(window) and (layer.count_include_pad or not own):
            return replace(layer, window=window, count_include_pad=True)
    return None


def _narrower(window: Window) -> bool:
    """Whether the padding is narrower than the kernel."""
    return all(max(b, e) < k for b, e, k in zip(window.begin, window.end, window.kernel, strict=True))


def _more(window: Window, begin: Shape, end: Shape) -> Window:
    return replace(
        window,
        begin=tuple(a + b for a, b in zip(window.begin, begin, strict=True)),
        end=tuple(a + b for a, b in zip(window.end, end, strict=True)),
    )
