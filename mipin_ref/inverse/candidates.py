"""Which tensors are worth explaining besides the input: the last feature map of each resolution."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from mipin_ref.graph.layer import (
    Activation,
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
)
from mipin_ref.graph.network import Network
from mipin_ref.inverse.plan import Plan, make_plan

NEVER_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softplus")


@dataclass(frozen=True)
class Candidate:
    """A tensor to explain.

    tensor: its name, for `at=`; shape: per sample; kind: of map that suits it (method of the paper, 6.1.2):
    "attribution" where no value can be negative, else "contribution".
    """

    tensor: str
    shape: Shape
    kind: Literal["attribution", "contribution"]


def candidates(net: Network) -> list[Candidate]:
    """One feature map a resolution, the last one of the network first; the input ends the list.

    A feature map has channels and two or more axes of more than one location, and its signal is reconstructed by a
    fitted inverse, directly or through reshapes. Among those of one resolution is preferred what every way from the
    input to the logits passes, so that nothing goes round it; then what is behind an activation; then what is nearest
    to the logits. A tensor that holds only the input, rescaled or rearranged, is left out, and so is one that holds
    another rearranged.
    """
    plan = make_plan(net, at=None, local=True, input_mask=None)
    every_way, input_like = _on_every_way(net), _input_like(net)
    floored, activated = _signs(net)
    rearranged = {layer.output for layer in net.layers if isinstance(layer, Reshape | Transpose)}
    best: dict[Shape, tuple[tuple[bool, bool, int], str]] = {}
    for depth, step in enumerate(plan.steps):
        name, size = step.tensor, _resolution(net, step.tensor)
        if not size or name in input_like or name in rearranged or not _reconstructed(plan, name):
            continue
        rank = (name in every_way, name in activated, -depth)
        best[size] = max(best.get(size, (rank, name)), (rank, name))
    found = [name for _, name in sorted(best.values(), key=lambda one: -one[0][2])]
    maps = [Candidate(name, net.shapes[name], "attribution" if name in floored else "contribution") for name in found]
    return [*maps, Candidate(net.input, net.input_shape, "contribution")]


def _resolution(net: Network, name: str) -> Shape:
    """The lengths of the spatial axes of a feature map; empty for any other tensor."""
    axis = net.channel_axis(name)
    size = tuple(length for number, length in enumerate(net.shapes[name], 1) if number != axis)
    return size if axis is not None and len(size) > 1 and min(size) > 1 else ()


def _reconstructed(plan: Plan, name: str) -> bool:
    """Whether the signal of a tensor comes out of a fit: its own, or that of the same values in another shape."""
    while name in plan.step_of:
        step = plan.step_of[name]
        if step.fitted:
            return True
        if not isinstance(step.branches[0].layer, Reshape | Transpose):
            return False
        (name,) = step.reads
    return False


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
        if not isinstance(layer, Dense | Conv | MaxPool | AveragePool | GlobalAveragePool):
            found.update([layer.output] if found.issuperset(layer.inputs) else [])
    return found


def _signs(net: Network) -> tuple[set[str], set[str]]:
    """The tensors that cannot be negative; these and all others that come out of an activation."""
    floored: set[str] = set()
    activated: set[str] = set()
    for layer in net.layers:
        if _is_floored(layer, floored):
            floored.add(layer.output)
        fires = isinstance(layer, Activation) and layer.function != "LRN"
        carries = isinstance(layer, Activation | MaxPool | AveragePool | GlobalAveragePool | Concat | Slice | Pad)
        if fires or layer.output in floored or (carries and activated.issuperset(layer.inputs)):
            activated.add(layer.output)
    return floored, activated


def _is_floored(layer: Layer, floored: Collection[str]) -> bool:
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
    return inputs and not (isinstance(layer, Pad) and layer.value < 0)
