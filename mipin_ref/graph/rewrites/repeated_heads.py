"""Values that a file repeats for several heads of queries are read by several heads, as the method has it (section 10,
fine print 2): those take the mean of what comes back, and one weight.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mipin_ref.graph.draft import Contraction
from mipin_ref.graph.rewrites.laid_out import Laid, LaidOut
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Gather, Reshape, Wired


def grouped(wiring: Wiring, layer: Contraction) -> Contraction:
    """The product of [..., heads, Q, T] and what is repeated, as that of [..., shared, each, Q, T] and
    [..., shared, 1, T, d]: put in its place between Reshapes, or itself where nothing is repeated.
    """
    weights = Laid(layer.inputs[0], layer.in_shapes[0])
    content = _once(wiring, wiring.maker(layer.inputs[1]), len(weights.shape) - 3)
    if content is None:
        return layer
    *around, heads, queries, keys = weights.shape
    *lead, shared, _, _, features = content.shape
    if tuple(around) != tuple(lead) or heads % shared:
        return layer
    laid = LaidOut(wiring, layer.output)
    content = laid.shaped(Laid(content.name, _made(wiring, content.name)), content.shape)
    weights = laid.shaped(weights, (*around, shared, heads // shared, queries, keys))
    made = replace(
        layer,
        inputs=(weights.name, content.name),
        output=laid.name("grouped"),
        in_shapes=(weights.shape, content.shape),
        out_shape=(*around, shared, heads // shared, queries, features),
    )
    laid.end(laid.shaped(laid.placed(made), layer.out_shape), layer.output)
    wiring.drop_dead()
    return made


def _once(wiring: Wiring, layer: Wired | None, axis: int) -> Laid | None:
    """What is repeated along the axis of heads, as [..., shared, 1, T, d]; None where nothing is.

    It is a Gather of entries so many times each, or a Reshape of one that repeats an axis of length one behind them.
    """
    if axis < 0:
        return None
    joined = layer if isinstance(layer, Reshape) else None
    layer = layer if joined is None else wiring.maker(joined.input)
    place = axis + (joined is not None)
    if not isinstance(layer, Gather) or len(layer.in_shape) <= place:
        return None
    pick = layer.picks[place]
    if pick is None or any(one is not None for i, one in enumerate(layer.picks) if i != place):
        return None
    shared, each = layer.in_shape[place], len(pick) // layer.in_shape[place]
    if each < 2 or not np.array_equal(pick, np.repeat(np.arange(shared), each)):
        return None
    *lead, tokens, features = layer.in_shape
    if joined is None:
        return Laid(layer.input, (*lead, 1, tokens, features))
    whole = (*lead[:-2], lead[-2] * each, tokens, features)
    return Laid(layer.input, layer.in_shape) if shared == 1 and joined.out_shape == whole else None


def _made(wiring: Wiring, name: str) -> tuple[int, ...]:
    layer = wiring.maker(name)
    assert layer is not None
    return layer.out_shape
