"""The end of a classifier: its head goes (method of the paper, 3: the target is a logit), and the logits become one
axis of classes.

A head is a Softmax, a LogSoftmax, or a Sigmoid of all outputs, perhaps of several parts that a Concat joins, behind
which values are only moved, clipped or taken the logarithm of. A Sigmoid with anything else behind it is an activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod

import numpy as np

from mipin_ref.graph.draft import Log, Softmax
from mipin_ref.graph.head import Behind, Head, Kind
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.graph.two_class import OP as TWO_CLASS
from mipin_ref.layers import Activation, Concat, Dense, GlobalAveragePool, Reshape, Slice, Transpose, Wired


@dataclass(frozen=True)
class _Tail:
    """A tensor that holds nothing but probabilities. operators, behind: see Head."""

    kind: Kind
    operators: tuple[str, ...]
    behind: tuple[Behind, ...] | None = ()


def head_layers(wiring: Wiring) -> list[Wired]:
    """The layers of the head, in execution order: its ends and all between them and the output; none without a head."""
    tails = _tails(wiring)
    wanted = {wiring.logits} & tails.keys()
    found = []
    for layer in reversed(wiring.layers):
        if layer.output in wanted:
            found.append(layer)
            # What an end reads is a logit.
            wanted.update(() if _begins(wiring, layer) is not None else layer.inputs)
    return found[::-1]


def remove_head(wiring: Wiring) -> Head | None:
    """Take the head out. Returns what it was; None where there is none.

    What moves values behind it moves logits then, in copies of those layers, as others may read the probabilities.
    """
    layers = head_layers(wiring)
    if not layers:
        return None
    tail = _tails(wiring)[wiring.logits]
    before = {layer.output for layer in wiring.layers}
    instead: dict[str, str] = {}
    sources = []
    for layer in layers:
        if _begins(wiring, layer) is not None:
            instead[layer.output] = _split_logit(wiring, layer) if _is_two_class(layer) else layer.input
            sources.append(instead[layer.output])
        elif isinstance(layer, Activation | Log):
            instead[layer.output] = instead[layer.input]
        else:
            name = wiring.new_name(layer.output, "logits")
            inputs = tuple(instead[one] for one in layer.inputs)
            wiring.layers.append(replace(layer, name=name, inputs=inputs, output=name))
            instead[layer.output] = name
    wiring.logits = instead[wiring.logits]
    wiring.drop_dead()
    wiring.folded.update(before - {layer.output for layer in wiring.layers})
    return Head(tail.kind, tail.operators, tuple(dict.fromkeys(sources)), tail.behind)


def _tails(wiring: Wiring) -> dict[str, _Tail]:
    """The tensors that hold nothing but probabilities, as they are, moved, clipped or in logarithms."""
    found: dict[str, _Tail] = {}
    for layer in wiring.layers:
        tail = _begins(wiring, layer) or _continued(layer, [found.get(name) for name in layer.inputs])
        if tail is not None:
            found[layer.output] = tail
    return found


def _begins(wiring: Wiring, layer: Wired) -> _Tail | None:
    if isinstance(layer, Softmax):
        if layer.function == TWO_CLASS:
            before = wiring.maker(layer.input)
            return _Tail("sigmoid", ("Sigmoid",)) if isinstance(before, Dense) else None
        return _Tail("softmax", (layer.function,), (None,) if layer.function == "LogSoftmax" else ())
    if isinstance(layer, Activation) and layer.function == "Sigmoid":
        return _Tail("sigmoid", ("Sigmoid",))
    return None


def _continued(layer: Wired, tails: Sequence[_Tail | None]) -> _Tail | None:
    """The tail of a layer's output, given those of its inputs: only what moves or bounds values goes on with it."""
    known = [tail for tail in tails if tail is not None]
    if len(known) < len(tails):
        return None
    first = known[0]
    if isinstance(layer, Log):
        return _followed(first, "Log", None)
    if isinstance(layer, Activation) and layer.function == "Clip":
        bounds = float(layer.options.get("min", -inf)), float(layer.options.get("max", inf))
        return _followed(first, "Clip", bounds)
    if isinstance(layer, Reshape | Transpose) or (
        isinstance(layer, GlobalAveragePool) and prod(layer.in_shape[1:]) == 1
    ):
        return first
    # A part of a softmax still depends on all classes.
    if isinstance(layer, Slice | Concat) and all(tail.kind == "sigmoid" for tail in known):
        behind = first.behind if all(tail.behind == first.behind for tail in known) else None
        return replace(first, behind=behind)
    return None


def _followed(tail: _Tail, operator: str, step: Behind) -> _Tail:
    behind = None if tail.behind is None else (*tail.behind, step)
    return replace(tail, operators=(*tail.operators, operator), behind=behind)


def _is_two_class(layer: Wired) -> bool:
    return isinstance(layer, Softmax) and layer.function == TWO_CLASS


def _split_logit(wiring: Wiring, end: Wired) -> str:
    """sigmoid([-z, z]) = [1 - p, p]: both classes get a logit of their own, from the Dense that z comes from."""
    before = wiring.maker(end.input)
    assert isinstance(before, Dense)
    name = wiring.new_name(end.input, "logits")
    both = replace(
        before,
        weight=np.concatenate([-before.weight, before.weight], axis=1),
        bias=np.concatenate([-before.bias, before.bias]),
        output=name,
        out_shape=(2,),
    )
    wiring.layers.append(both)
    return name


def flatten_logits(wiring: Wiring) -> None:
    """Logits [N, C, 1, 1] become [N, C], and logits [N] become [N, 1]: what the network means is C classes."""
    end = wiring.maker(wiring.logits)
    if end is None or len(end.out_shape) == 1:
        return
    classes = max(end.out_shape, default=1)
    if classes != prod(end.out_shape):
        return
    name = wiring.new_name(end.output, "classes")
    wiring.layers.append(
        Reshape(name=name, inputs=(end.output,), output=name, in_shapes=(end.out_shape,), out_shape=(classes,))
    )
    wiring.logits = name
