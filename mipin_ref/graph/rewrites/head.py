"""The end of a classifier: its head goes (method of the paper, 3: the target is a logit), and the logits become one
axis of classes.

A head is a Softmax, a LogSoftmax, or a Sigmoid of all outputs, perhaps of several parts that a Concat joins, behind
which values are only moved, clipped, taken from one or taken the logarithm of. A Sigmoid with anything else behind it
is an activation. 1 - sigmoid(z) is sigmoid(-z): the two classes [1 - p, p] of one logit have the logits [-z, z].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod

import numpy as np

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.draft import Log, Softmax
from mipin_ref.graph.head import Behind, Head, HeadKind
from mipin_ref.graph.rewrites.affines import scaled_output
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import (
    Activation,
    Affine,
    Concat,
    GlobalAveragePool,
    HostArray,
    Reduce,
    Reshape,
    Shape,
    Slice,
    Transpose,
    Wired,
)


@dataclass(frozen=True)
class _Tail:
    """A tensor that holds nothing but probabilities. operators, behind: see Head."""

    kind: HeadKind
    operators: tuple[str, ...]
    behind: tuple[Behind, ...] | None = ()
    shape: tuple[int, ...] | None = None
    axis: int | None = None
    whole: bool = True
    """Whether all entries are probabilities; else those alone that came through a Sigmoid."""


def head_layers(wiring: Wiring) -> list[Wired]:
    """The layers of the head, in execution order: its ends and all between them and the output; none without a head."""
    tails = _tails(wiring)
    wanted = {wiring.logits} & tails.keys()
    head = []
    for layer in reversed(wiring.layers):
        if layer.output in wanted:
            head.append(layer)
            # What an end reads is a logit, and so is what is joined to probabilities without being one.
            wanted.update(() if _begins(layer) is not None else tails.keys() & {*layer.inputs})
    return head[::-1]


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
    sources, copied = dict[str, str](), set[str]()
    for layer in layers:
        if _begins(layer) is not None:
            instead[layer.output] = layer.input
            sources[layer.input] = layer.input
        elif isinstance(layer, Activation | Log):
            instead[layer.output] = instead[layer.input]
        elif isinstance(layer, Affine):
            instead[layer.output], once = _negated(wiring, layer, instead[layer.input])
            copied.update(once)
        else:
            name = wiring.new_name(layer.output, "logits")
            inputs = tuple(instead.get(one, one) for one in layer.inputs)
            wiring.layers.append(replace(layer, name=name, inputs=inputs, output=name))
            instead[layer.output] = name
    wiring.logits = instead[wiring.logits]
    wiring.drop_dead()
    # Not all that the file computes from it is computed from it here.
    for name in copied & {layer.output for layer in wiring.layers}:
        new = wiring.new_name(name, "logits")
        wiring.rename(name, new)
        sources.update({name: new} if name in sources else {})
    wiring.folded.update(before - {layer.output for layer in wiring.layers})
    scored = None if tail.whole else _scored(layers)
    return Head(tail.kind, tail.operators, sources, tail.behind, tail.shape, tail.axis, scored)


def _scored(layers: Sequence[Wired]) -> HostArray:
    """Which entries of the output [classes] came through a Sigmoid. layers: of the head."""
    came: dict[str, HostArray] = {}
    for layer in layers:
        if _begins(layer) is not None:
            came[layer.output] = np.ones(layer.out_shape, bool)
            continue
        parts = [
            came.get(name, np.zeros(shape, bool)) for name, shape in zip(layer.inputs, layer.in_shapes, strict=True)
        ]
        if isinstance(layer, Concat):
            came[layer.output] = np.concatenate(parts, layer.axis - 1)
        elif isinstance(layer, Reshape):
            came[layer.output] = parts[0].reshape(layer.out_shape)
        elif isinstance(layer, Transpose):
            came[layer.output] = parts[0].transpose([axis - 1 for axis in layer.perm[1:]])
        elif isinstance(layer, Slice):
            came[layer.output] = parts[0][layer.box[1:]]
        else:
            raise TypeError(f"a head has no layer {layer.name!r} beside other values")
    return came[layers[-1].output].reshape(-1)


def refuse_mean_of_probabilities(wiring: Wiring) -> None:
    """Raise UnsupportedModel where the output is a mean of several probabilities.

    No logit stands for it: kept as it is, it is never negative, and maps of what speaks against come out reversed.
    """
    name, averaged = wiring.logits, False
    while (layer := wiring.maker(name)) is not None:
        if isinstance(layer, Activation) and layer.function == "Sigmoid" and averaged:
            raise UnsupportedModel(
                f"the output is a mean of several probabilities, those of {layer.output!r}, and no logit stands for "
                "it; give an input of which there is one, option 'input_shape', or explain another output"
            )
        if not isinstance(layer, Reshape | Transpose | GlobalAveragePool | Reduce):
            return
        averaged = averaged or prod(layer.in_shape) > prod(layer.out_shape)
        name = layer.input


def _tails(wiring: Wiring) -> dict[str, _Tail]:
    """The tensors that hold probabilities, as they are, moved, clipped or in logarithms, or beside other values."""
    tails: dict[str, _Tail] = {}
    for layer in wiring.layers:
        tail = _begins(layer) or _continued(layer, [tails.get(name) for name in layer.inputs])
        if tail is not None:
            tails[layer.output] = tail
    return tails


def _begins(layer: Wired) -> _Tail | None:
    if isinstance(layer, Softmax):
        behind = (None,) if layer.function == "LogSoftmax" else ()
        return _Tail("softmax", (layer.function,), behind, None if layer.axis is None else layer.out_shape, layer.axis)
    if isinstance(layer, Activation) and layer.function == "Sigmoid":
        return _Tail("sigmoid", ("Sigmoid",))
    return None


def _continued(layer: Wired, tails: Sequence[_Tail | None]) -> _Tail | None:
    """The tail of a layer's output, given those of its inputs: only what moves or bounds values goes on with it."""
    known = [tail for tail in tails if tail is not None]
    if not known or (len(known) < len(tails) and not isinstance(layer, Concat)):
        return None
    first = known[0]
    if len(known) < len(tails) or not all(tail.whole for tail in known):
        return _beside_others(layer, known)
    if isinstance(layer, Log):
        return _followed(first, "Log", None)
    if isinstance(layer, Activation) and layer.function == "Clip":
        bounds = float(layer.options.get("min", -inf)), float(layer.options.get("max", inf))
        return _followed(first, "Clip", bounds)
    if isinstance(layer, Affine):
        return _complement(first) if np.all(layer.scale == -1) and np.all(layer.shift == 1) else None
    if first.axis is not None:
        # What moves the classes of each place moves them away from their places.
        return None
    if isinstance(layer, Reshape | Transpose) or (
        isinstance(layer, GlobalAveragePool | Reduce) and prod(layer.in_shape) == prod(layer.out_shape)
    ):
        return first
    # A part of a softmax still depends on all classes.
    if isinstance(layer, Slice | Concat) and all(tail.kind == "sigmoid" for tail in known):
        behind = first.behind if all(tail.behind == first.behind for tail in known) else None
        return replace(first, behind=behind)
    return None


def _beside_others(layer: Wired, tails: Sequence[_Tail]) -> _Tail | None:
    """The tail of a layer that joins probabilities of each class by itself with other values, or moves such."""
    alike = all(tail.kind == "sigmoid" and tail.behind == () for tail in tails)
    if not alike or not isinstance(layer, Concat | Slice | Reshape | Transpose):
        return None
    return replace(tails[0], whole=False)


def _followed(tail: _Tail, operator: str, step: Behind) -> _Tail:
    behind = None if tail.behind is None else (*tail.behind, step)
    return replace(tail, operators=(*tail.operators, operator), behind=behind)


def _complement(tail: _Tail) -> _Tail | None:
    """The tail of 1 - p: a probability of its own only where each class has one, and no longer one of a logarithm."""
    if tail.kind != "sigmoid" or tail.behind is None:
        return None
    bounds = [step for step in tail.behind if step is not None]
    if len(bounds) < len(tail.behind):
        return None
    return replace(tail, behind=tuple((1 - high, 1 - low) for low, high in bounds))


def _negated(wiring: Wiring, complement: Affine, logits: str) -> tuple[str, list[str]]:
    """The logits of 1 - p: from layers like those that make the ones of p, as far back as where a kind takes the sign.

    Returns their name and the tensors that such layers stand beside.
    """
    moves, source = list[Reshape | Transpose](), logits
    while isinstance(layer := wiring.maker(source), Reshape | Transpose):
        moves.append(layer)
        source = layer.input
    shape = moves[-1].in_shape if moves else complement.in_shape
    one = np.ones((1,) * len(shape))
    copy = None if layer is None or isinstance(layer, Affine) else scaled_output(layer, -one, 0 * one)
    first = copy or replace(
        complement, inputs=(source,), in_shapes=(shape,), out_shape=shape, scale=-one, shift=0 * one
    )
    inputs = first.inputs
    for made in (first, *reversed(moves)):
        name = wiring.new_name(complement.output, "logits")
        wiring.layers.append(replace(made, name=name, inputs=inputs, output=name))
        inputs = (name,)
    return inputs[0], [*([source] if copy else []), *(move.output for move in moves)]


def flatten_logits(wiring: Wiring) -> Shape:
    """Make logits [N, C, 1, 1] to [N, C], and logits [N] to [N, 1]: what the network means is C classes.

    Returns the shape that a sample of them had.
    """
    end = wiring.maker(wiring.logits)
    if end is None or len(end.out_shape) == 1:
        return () if end is None else end.out_shape
    classes = max(end.out_shape, default=1)
    if classes != prod(end.out_shape):
        return end.out_shape
    name = wiring.new_name(end.output, "classes")
    wiring.layers.append(
        Reshape(name=name, inputs=(end.output,), output=name, in_shapes=(end.out_shape,), out_shape=(classes,))
    )
    wiring.logits = name
    return end.out_shape
