"""Matrix products of two tensors of which neither is a softmax over what is summed, and yet one tells to be state.

Of x xᵀ, as bilinear pooling has it, the second is frozen. In attention without a softmax, φ(q) (φ(k)ᵀ v), what comes
from the function φ is frozen, as weights are; the same goes for an adjacency matrix that is made so.
"""

from __future__ import annotations

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


def next_frozen(wiring: Wiring) -> tuple[Contraction, int] | None:
    """The last product on a path of which an operand tells to be state, and which; None where there is none.

    From the end: what a product behind takes for state is on no path.
    """
    paths = on_paths(wiring)
    for layer in reversed(wiring.layers):
        if isinstance(layer, Contraction) and layer.output in paths and (side := _frozen(wiring, layer)) is not None:
            return layer, side
    return None


def _frozen(wiring: Wiring, layer: Contraction) -> int | None:
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
