"""Weights of a softmax over features, as cross-covariance attention has them: each location is mixed by itself.

V [..., keys, T], whose features are the keys, becomes [T, ..., keys, 1]: locations around, and of each head one column,
so that one weight a head is fitted (method, section 10: a weight a head and feature of those that are not summed).
"""

from __future__ import annotations

from dataclasses import replace

from mipin_ref.graph.draft import Contraction
from mipin_ref.graph.rewrites.laid_out import Laid, LaidOut
from mipin_ref.graph.rewrites.wiring import Wiring


def by_location(wiring: Wiring, layer: Contraction, side: int) -> Contraction:
    """The product with locations as the first axis, put in place between moves. side: which operand the weights are."""
    laid = LaidOut(wiring, layer.output)
    content, weights = (Laid(layer.inputs[i], layer.in_shapes[i]) for i in (1 - side, side))
    rank = len(content.shape)
    lead, (places, keys) = range(rank - 2), (rank - 1, rank - 2) if side == 0 else (rank - 2, rank - 1)
    turned = laid.turned(content, (places, *lead, keys))
    column = (*turned.shape, 1) if side == 0 else (*turned.shape[:-1], 1, turned.shape[-1])
    content, weights = laid.shaped(turned, column), laid.shaped(weights, (1, *weights.shape))
    kept = weights.shape[-2 + side]
    around = layer.out_shape[:-2]
    pair = (weights, content) if side == 0 else (content, weights)
    made = replace(
        layer,
        inputs=tuple(one.name for one in pair),
        output=laid.name("by location"),
        in_shapes=tuple(one.shape for one in pair),
        out_shape=(turned.shape[0], *around, *((kept, 1) if side == 0 else (1, kept))),
    )
    flat = laid.shaped(laid.placed(made), (turned.shape[0], *around, kept))
    back = (*range(1, rank), 0) if side == 0 else (*range(1, rank - 1), 0, rank - 1)
    laid.end(laid.turned(flat, back), layer.output)
    wiring.drop_dead()
    return made
