"""The end of a classifier: a final Softmax goes, and the logits become one axis of classes."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from mipin_ref.graph.draft import Softmax
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.graph.two_class import OP as TWO_CLASS
from mipin_ref.layers import Dense, Reshape, Transpose


def final_softmax(wiring: Wiring) -> Softmax | None:
    """The Softmax that only reshapes and transposes follow."""
    layer = wiring.maker(wiring.logits)
    while isinstance(layer, Reshape | Transpose):
        layer = wiring.maker(layer.input)
    return layer if isinstance(layer, Softmax) else None


def remove_softmax(wiring: Wiring) -> str | None:
    """Take the final Softmax out. Returns its operator; None where there is none, or no logits to put in its place."""
    softmax = final_softmax(wiring)
    if softmax is None:
        return None
    if softmax.function == TWO_CLASS and not _split_logit(wiring, softmax.input):
        return None
    behind = []
    tensor = wiring.logits
    while tensor != softmax.output:
        behind.append(tensor)
        layer = wiring.maker(tensor)
        assert layer is not None
        tensor = layer.input
    wiring.take_out(softmax.output)
    for name in reversed(behind):
        wiring.disown(name, "logits")
    return softmax.function


def _split_logit(wiring: Wiring, tensor: str) -> bool:
    """sigmoid([-z, z]) = [1 - p, p]: give both classes a logit of their own, where z comes from a Dense."""
    before = wiring.maker(tensor)
    if not isinstance(before, Dense) or before.out_shape != (1,):
        return False
    both = replace(
        before,
        weight=np.concatenate([-before.weight, before.weight], axis=1),
        bias=np.concatenate([-before.bias, before.bias]),
    )
    wiring.replace(both)
    wiring.set_shape(tensor, (2,))
    wiring.disown(tensor, "logits")
    return True


def flatten_logits(wiring: Wiring) -> None:
    """Logits [N, C, 1, 1] become [N, C]: what the network means is C classes."""
    end = wiring.maker(wiring.logits)
    if end is None or len(end.out_shape) == 1 or max(end.out_shape) != prod(end.out_shape):
        return
    name = wiring.new_name(end.output, "classes")
    wiring.layers.append(
        Reshape(
            name=name, inputs=(end.output,), output=name, in_shapes=(end.out_shape,), out_shape=(max(end.out_shape),)
        )
    )
    wiring.logits = name
