"""Feature maps: which tensors of a network have channels and places, and hold more than the input moved about."""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import Literal

import numpy as np

from mipin_ref.graph.kinds import INVERTED, REARRANGES, KindTable
from mipin_ref.graph.layer import (
    Activation,
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Pad,
    Reshape,
    Shape,
    Slice,
    Transpose,
    disjoint,
    unknown_kind,
)
from mipin_ref.graph.network import Network

NEVER_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softplus")

WEIGHS: KindTable[bool] = KindTable(
    "the search for feature maps",
    {
        **dict.fromkeys((Dense, Conv, MaxPool, AveragePool, GlobalAveragePool), True),
        **dict.fromkeys((Affine, Activation, Add, Concat, Slice, Pad, Reshape, Transpose), False),
    },
)
"""Whether a layer is a weighted sum or a pool over locations, behind which a tensor is no more the input rescaled."""

CARRIES: KindTable[bool] = KindTable(
    "the search for activated tensors",
    {
        **dict.fromkeys((Activation, MaxPool, AveragePool, GlobalAveragePool, Concat, Slice, Pad), True),
        **dict.fromkeys((Dense, Conv, Affine, Add, Reshape, Transpose), False),
    },
)
"""Whether what comes out of activations is still such behind a layer."""


def feature_maps(net: Network) -> list[str]:
    """One feature map a resolution, the last one of the network first.

    A feature map has channels and two or more axes of more than one location, and its signal is reconstructed by a
    fitted inverse, directly or through reshapes. Among those of one resolution is preferred what every way from the
    input to the logits passes, so that nothing goes round it; then what is behind an activation; then what is nearest
    to the logits. A tensor that holds only the input, rescaled or rearranged, is left out, and so is one that holds
    another rearranged.
    """
    every_way, input_like = _on_every_way(net), _input_like(net)
    _, activated = signs(net)
    rearranged = {layer.output for layer in net.layers if REARRANGES.of(layer)}
    best: dict[Shape, tuple[tuple[bool, bool, int], str]] = {}
    for depth, name in enumerate(name for name in reversed(net.shapes) if name != net.logits):
        size = _resolution(net, name)
        if not size or name in input_like or name in rearranged or not _reconstructed(net, name):
            continue
        rank = (name in every_way, name in activated, -depth)
        best[size] = max(best.get(size, (rank, name)), (rank, name))
    return [name for _, name in sorted(best.values(), key=lambda one: -one[0][2])]


def signs(net: Network) -> tuple[set[str], set[str]]:
    """The tensors that cannot be negative; these and all others that come out of an activation."""
    floored: set[str] = set()
    activated: set[str] = set()
    for layer in net.layers:
        if is_floored(layer, floored):
            floored.add(layer.output)
        fires = isinstance(layer, Activation) and layer.function != "LRN"
        if fires or layer.output in floored or (CARRIES.of(layer) and activated.issuperset(layer.inputs)):
            activated.add(layer.output)
    return floored, activated


def is_floored(layer: Layer, floored: Collection[str]) -> bool:
    """Whether a layer's output cannot be negative, given the tensors that cannot."""
    inputs = all(name in floored for name in layer.inputs)
    if isinstance(layer, Dense | Conv):
        return False
    if isinstance(layer, Activation):
        options = layer.options
        if layer.function == "Clip":
            return float(options.get("min", -inf)) >= 0 or (inputs and float(options.get("max", inf)) >= 0)
        if layer.function == "ThresholdedRelu":
            return inputs or float(options.get("alpha", 1.0)) >= 0
        return inputs or layer.function in NEVER_NEGATIVE
    if isinstance(layer, Affine):
        return inputs and bool(np.all(layer.scale >= 0) and np.all(layer.shift >= 0))
    if isinstance(layer, Pad):
        return inputs and layer.value >= 0
    if isinstance(layer, MaxPool | AveragePool | GlobalAveragePool | Add | Concat | Slice | Reshape | Transpose):
        return inputs
    raise unknown_kind(layer, "the search for tensors that cannot be negative")


def _resolution(net: Network, name: str) -> Shape:
    """The lengths of the spatial axes of a feature map; empty for any other tensor."""
    axis = net.channel_axis(name)
    size = tuple(length for number, length in enumerate(net.shapes[name], 1) if number != axis)
    return size if axis is not None and len(size) > 1 and min(size) > 1 else ()


def _reconstructed(net: Network, name: str) -> bool:
    """Whether the signal of a tensor comes out of a fit: its own, or that of the same values in another shape."""
    while name != net.logits:
        readers = [layer for layer, _ in net.consumers[name]]
        slices = [layer for layer in readers if isinstance(layer, Slice)]
        # Slices of disjoint boxes are one Split.
        ways: Literal["one", "several"] = "one" if len(readers) == 1 or _is_split(readers, slices) else "several"
        if ways == "several" or INVERTED.of(readers[0]).weights != "none":
            return True
        if not REARRANGES.of(readers[0]):
            return False
        name = readers[0].output
    return False


def _is_split(readers: list[Layer], slices: list[Slice]) -> bool:
    return len(slices) == len(readers) and disjoint(slices)


def _on_every_way(net: Network) -> set[str]:
    """The tensors that no way from the input to the logits avoids: no layer reads across them in execution order."""
    position = {name: number for number, name in enumerate(net.shapes)}
    found, furthest = set(), 0
    for name, number in position.items():
        if furthest <= number:
            found.add(name)
        furthest = max([furthest, *(position[layer.output] for layer, _ in net.consumers[name])])
    return found


def _input_like(net: Network) -> set[str]:
    """The input and what is made of it without a weighted sum or a pool over locations."""
    found = {net.input}
    for layer in net.layers:
        if not WEIGHS.of(layer):
            found.update([layer.output] if found.issuperset(layer.inputs) else [])
    return found
