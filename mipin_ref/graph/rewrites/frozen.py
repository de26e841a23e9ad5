"""Matrix products of two tensors of which neither is a softmax over what is summed, and yet one tells to be state.

Of x xᵀ, as bilinear pooling has it, the second is frozen. In attention without a softmax, φ(q) (φ(k)ᵀ v), what comes
from the function φ is frozen, as weights are; the same goes for an adjacency matrix that is made so. What is summed are
locations of the other operand: where it would be features, the product is refused.
"""

from __future__ import annotations

from collections.abc import Collection

from mipin_ref.graph.draft import Contraction
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Activation, Affine, Gather, Layer, Reshape, Slice, Transpose


def on_paths(wiring: Wiring) -> set[str]:
    """The tensors that signals would come back to; to both operands of a product that is not settled yet."""
    paths = {wiring.logits}
    for layer in reversed(wiring.layers):
        if layer.output in paths:
            slots = layer.paths if isinstance(layer, Layer) else range(len(layer.inputs))
            paths.update(layer.inputs[slot] for slot in slots)
    return paths


def next_frozen(wiring: Wiring, refused: Collection[str]) -> tuple[Contraction, int] | None:
    """The last product on a path of which an operand tells to be state, and which; None where there is none.

    refused: what products make that are left out.

    From the end: what a product behind takes for state is on no path.
    """
    paths = on_paths(wiring)
    for layer in reversed(wiring.layers):
        if not isinstance(layer, Contraction) or layer.output not in paths or layer.output in refused:
            continue
        if (side := frozen_side(wiring, layer)) is not None:
            return layer, side
    return None


def frozen_side(wiring: Wiring, layer: Contraction) -> int | None:
    """Which operand of a product tells to be state; None where neither does, or both."""
    moved = [_moved(wiring, name) for name in layer.inputs]
    if moved[0] == moved[1]:
        return 1
    made = [_by_a_function(wiring, name) for name in layer.inputs]
    return made.index(True) if made[0] != made[1] else None


def _moved(wiring: Wiring, name: str) -> str:
    """The tensor that one holds the same values of, times a number perhaps."""
    while isinstance(layer := wiring.maker(name), Reshape | Transpose) or (
        isinstance(layer, Affine) and layer.scale.size == 1 and not layer.shift.any()
    ):
        name = layer.inputs[0]
    return name


def _by_a_function(wiring: Wiring, name: str) -> bool:
    """Whether a tensor is moved and scaled values of an activation."""
    while isinstance(layer := wiring.maker(name), Reshape | Transpose | Slice | Gather | Affine):
        name = layer.inputs[0]
    return isinstance(layer, Activation)
