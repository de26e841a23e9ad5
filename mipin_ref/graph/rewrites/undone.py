"""Moves that undo each other on either side of a layer go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from mipin_ref.graph.rewrites.numbered import moved
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Reshape, Transpose, Wired


def undo_moves(wiring: Wiring, output: str) -> None:
    """Let the layer that makes `output` read, and be read, in front of and behind moves that come to nothing.

    Names of tensors between them are told as folded.
    """
    _in_front(wiring, output)
    _behind(wiring, output)


def _in_front(wiring: Wiring, output: str) -> None:
    layer = wiring.maker(output)
    assert layer is not None
    inputs = []
    for name, shape in zip(layer.inputs, layer.in_shapes, strict=True):
        chain, furthest = list[Wired](), name
        while isinstance(move := wiring.maker(chain[-1].input if chain else name), Reshape | Transpose):
            chain.append(move)
            if move.in_shape == shape and _nothing(chain[::-1]):
                furthest = move.input
        inputs.append(furthest)
    given = layer.inputs
    wiring.replace(replace(layer, inputs=tuple(inputs)))
    for name, furthest in zip(given, inputs, strict=True):
        while name != furthest and wiring.unread(name):
            move = wiring.maker(name)
            assert move is not None
            wiring.drop(name)
            name = move.input


def _behind(wiring: Wiring, output: str) -> None:
    layer = wiring.maker(output)
    assert layer is not None
    chain, count, name = list[Wired](), 0, output
    while name != wiring.logits and isinstance(move := wiring.sole_reader(name), Reshape | Transpose):
        chain.append(move)
        name = move.output
        if move.out_shape == layer.out_shape and _nothing(chain):
            count = len(chain)
    if not count:
        return
    for move in chain[:count]:
        wiring.take_out(move.output)
    # What the layer makes are the values behind the moves.
    wiring.rename(output, chain[count - 1].output)


def _nothing(chain: Sequence[Wired]) -> bool:
    """Whether moves leave every element where it was."""
    size = prod(chain[0].in_shape)
    numbers = np.arange(size, dtype=np.int32).reshape(chain[0].in_shape)
    return bool(np.array_equal(np.ravel(moved(numbers, chain)), np.arange(size)))
