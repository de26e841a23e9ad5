"""Draft layers -> the canonical chain: paddings and per-channel constants dissolve into their neighbours."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.draft import Affine, Pad, Softmax
from mipin_ref.graph.layer import Array, Conv, Dense, Layer, Reshape, Shape, Transpose
from mipin_ref.graph.read import Read
from mipin_ref.graph.two_class import OP as TWO_CLASS


@dataclass(frozen=True)
class Chain:
    """aliases: file name -> surviving name of a tensor of the same values; folded: names whose values are gone."""

    layers: tuple[Layer, ...]
    aliases: dict[str, str]
    folded: frozenset[str]
    logits: str
    removed_softmax: str | None


def canonical_chain(found: Read) -> Chain:
    """The canonical chain of a draft; every name it keeps holds the values that it has in the file.

    Raises UnsupportedModel where the network branches or a constant or padding has no neighbour to dissolve into.
    """
    if found.problems and not _is_chain(found):
        raise UnsupportedModel(CANNOT, found.problems)
    _check_chain(found)
    folded: set[str] = set()
    layers = _without_pads(list(found.layers), folded)
    layers = _without_affines(layers, folded)
    # An Affine may have stood between a Pad and its Conv.
    layers = _without_pads(layers, folded)
    layers, removed = _without_softmax(layers, folded)
    left = [entry for layer in layers for entry in _left_over(layer)]
    if found.problems or left:
        raise UnsupportedModel(CANNOT, [*found.problems, *left])
    aliases = {name: target for name, target in found.aliases.items() if target not in folded}
    folded.update(found.aliases.keys() - aliases.keys())
    return Chain(tuple(layers), aliases, frozenset(folded), layers[-1].output if layers else found.input, removed)


CANNOT = "the network has nodes that cannot be inverted"


def _is_chain(found: Read) -> bool:
    names = [found.input, *(layer.output for layer in found.layers)]
    return all(layer.input == name for layer, name in zip(found.layers, names, strict=False))


def _check_chain(found: Read) -> None:
    consumers = Counter(layer.input for layer in found.layers)
    branching = [
        f"tensor {name!r} goes to {', '.join(layer.name for layer in found.layers if layer.input == name)}"
        for name, count in consumers.items()
        if count > 1
    ]
    if branching:
        raise UnsupportedModel("the network branches", branching)
    if not found.layers and not found.problems:
        raise UnsupportedModel("the output is the input: there is nothing to invert")


def _left_over(layer: Layer) -> list[str]:
    """The file's nodes that a draft layer still stands for, each with the reason."""
    if isinstance(layer, Affine):
        return [f"{label} (a constant that no neighbouring Conv or Dense can take up)" for label in layer.labels]
    if isinstance(layer, Softmax):
        return [f"{layer.function} {layer.name!r} (before the end it is no element-wise activation)"]
    if isinstance(layer, Pad):
        return [f"Pad {layer.name!r} (padding that no convolution follows)"]
    return []


def _dissolve(layers: list[Layer], index: int, folded: set[str]) -> list[Layer]:
    """Take layer `index` out: whoever read its output reads its input."""
    gone = layers[index]
    folded.add(gone.output)
    rest = [*layers[:index], *layers[index + 1 :]]
    return [replace(x, inputs=(gone.input,)) if x.input == gone.output else x for x in rest]


def _rename(layers: list[Layer], index: int, name: str, folded: set[str]) -> list[Layer]:
    """Give the output of layer `index` another name, as its values are no longer those of the file."""
    old = layers[index].output
    taken = {layers[0].input, *(layer.output for layer in layers)}
    while name in taken:
        name += "'"
    folded.add(old)
    folded.discard(name)
    renamed = [*layers[:index], replace(layers[index], output=name), *layers[index + 1 :]]
    return [replace(x, inputs=(name,)) if x.input == old else x for x in renamed]


def _without_softmax(layers: list[Layer], folded: set[str]) -> tuple[list[Layer], str | None]:
    at = next((i for i, layer in enumerate(layers) if isinstance(layer, Softmax)), None)
    if at is None or any(not isinstance(layer, Reshape | Transpose) for layer in layers[at + 1 :]):
        return layers, None
    softmax = layers[at]
    assert isinstance(softmax, Softmax)
    if softmax.function == TWO_CLASS:
        before = layers[at - 1] if at else None
        if not isinstance(before, Dense) or before.out_shape != (1,):
            return layers, None
        # sigmoid([-z, z]) = [1 - p, p]: both classes get a logit of their own.
        both = replace(
            before,
            weight=np.concatenate([-before.weight, before.weight], axis=1),
            bias=np.concatenate([-before.bias, before.bias]),
            out_shape=(2,),
        )
        layers = _rename([*layers[: at - 1], both, *layers[at:]], at - 1, f"{before.output}:logits", folded)
    layers = _dissolve(layers, at, folded)
    for position in range(at, len(layers)):
        layers = _rename(layers, position, f"{layers[position].output}:logits", folded)
    return layers, softmax.function


def _without_pads(layers: list[Layer], folded: set[str]) -> list[Layer]:
    index = 0
    while index < len(layers) - 1:
        pad, after = layers[index : index + 2]
        if isinstance(pad, Pad) and isinstance(after, Transpose):
            layers[index : index + 2] = _swapped_pad(pad, after)
            layers = _rename(layers, index, f"{pad.output}:unpadded", folded)
        elif isinstance(pad, Pad) and isinstance(after, Conv) and not pad.begin[0] and not pad.end[0]:
            window = replace(
                after.window,
                begin=_sum(after.window.begin, pad.begin[1:]),
                end=_sum(after.window.end, pad.end[1:]),
            )
            layers[index + 1] = replace(after, window=window, in_shapes=(pad.in_shape,))
            layers = _dissolve(layers, index, folded)
            index = 0  # a Pad in front of this one may now meet its Conv
            continue
        index += 1
    return layers


def _sum(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _swapped_pad(pad: Pad, turn: Transpose) -> list[Layer]:
    inner = [p - 1 for p in turn.perm[1:]]
    moved = replace(
        turn, inputs=(pad.input,), output=pad.output, in_shapes=(pad.in_shape,), out_shape=_take(pad.in_shape, inner)
    )
    after = replace(
        pad,
        inputs=(moved.output,),
        output=turn.output,
        in_shapes=(moved.out_shape,),
        out_shape=turn.out_shape,
        begin=_take(pad.begin, inner),
        end=_take(pad.end, inner),
    )
    return [moved, after]


def _take(values: Shape, order: list[int]) -> Shape:
    return tuple(values[i] for i in order)


# --- per-channel constants --------------------------------------------------------------------------------------------


def _without_affines(layers: list[Layer], folded: set[str]) -> list[Layer]:
    """Fold each Affine into the Conv or Dense before it, else into the one after it; shape layers in between move."""
    index = 0
    while index < len(layers):
        affine = layers[index]
        if isinstance(affine, Affine):
            changed = _fold_up(layers, index, folded) or _fold_down(layers, index, folded)
            if changed is not None:
                layers, index = changed, 0
                continue
        index += 1
    return layers


def _fold_up(layers: list[Layer], index: int, folded: set[str]) -> list[Layer] | None:
    """The layers with the Affine taken into an earlier Conv, Dense or Affine; None where there is none in reach."""
    affine = layers[index]
    assert isinstance(affine, Affine)
    scale, shift = affine.scale, affine.shift
    for before in range(index - 1, -1, -1):
        layer = layers[before]
        if isinstance(layer, Transpose):
            inverse = [int(i) for i in np.argsort(layer.perm)]
            scale, shift = (np.transpose(v[None], inverse)[0] for v in (scale, shift))
        elif isinstance(layer, Reshape):
            scale, shift = (np.broadcast_to(v, layer.out_shape).reshape(layer.in_shape) for v in (scale, shift))
        elif isinstance(layer, Dense):
            a, b = (np.broadcast_to(v, layer.out_shape) for v in (scale, shift))
            return _absorbed(
                _replaced(layers, before, weight=layer.weight * a, bias=layer.bias * a + b), before, index, folded
            )
        elif isinstance(layer, Conv):
            a_channel, b_channel = _per_channel(scale, layer.out_shape), _per_channel(shift, layer.out_shape)
            if a_channel is None or b_channel is None:
                return None
            weight = layer.weight * a_channel.reshape(-1, *(1,) * (layer.weight.ndim - 1))
            return _absorbed(
                _replaced(layers, before, weight=weight, bias=layer.bias * a_channel + b_channel), before, index, folded
            )
        elif isinstance(layer, Affine):
            both = replace(
                layer,
                labels=layer.labels + affine.labels,
                scale=layer.scale * scale,
                shift=layer.shift * scale + shift,
            )
            return _absorbed([*layers[:before], both, *layers[before + 1 :]], before, index, folded)
        else:
            return None
    return None


def _fold_down(layers: list[Layer], index: int, folded: set[str]) -> list[Layer] | None:
    """The same, into a later Conv or Dense."""
    affine = layers[index]
    assert isinstance(affine, Affine)
    scale, shift = affine.scale, affine.shift
    for after in range(index + 1, len(layers)):
        layer = layers[after]
        if isinstance(layer, Transpose):
            scale, shift = (np.transpose(v[None], layer.perm)[0] for v in (scale, shift))
        elif isinstance(layer, Reshape):
            scale, shift = (np.broadcast_to(v, layer.in_shape).reshape(layer.out_shape) for v in (scale, shift))
        elif isinstance(layer, Dense):
            a, b = (np.broadcast_to(v, layer.in_shape) for v in (scale, shift))
            bias = layer.bias + b @ layer.weight.astype(np.float64)
            return _absorbed(
                _replaced(layers, after, weight=layer.weight * a[:, None], bias=bias), after, index, folded
            )
        elif isinstance(layer, Conv):
            a_channel, b_channel = _per_channel(scale, layer.in_shape), _per_channel(shift, layer.in_shape)
            padded = any(layer.window.begin) or any(layer.window.end)
            # A padded location is zero after the shift, so no bias per channel can stand for it.
            if a_channel is None or b_channel is None or (padded and np.any(b_channel)):
                return None
            spread = (layer.weight.shape[0], -1, *(1,) * (layer.weight.ndim - 2))
            per_group = np.repeat(a_channel.reshape(layer.groups, -1), layer.weight.shape[0] // layer.groups, axis=0)
            lift = np.repeat(b_channel.reshape(layer.groups, -1), layer.weight.shape[0] // layer.groups, axis=0)
            bias = layer.bias + (layer.weight * lift.reshape(spread)).sum(axis=tuple(range(1, layer.weight.ndim)))
            return _absorbed(
                _replaced(layers, after, weight=layer.weight * per_group.reshape(spread), bias=bias),
                after,
                index,
                folded,
            )
        else:
            return None
    return None


def _absorbed(layers: list[Layer], into: int, index: int, folded: set[str]) -> list[Layer]:
    """Take out the Affine at `index`, whose constants layer `into` now holds; tensors between them change values."""
    output = layers[index].output
    layers = _dissolve(layers, index, folded)
    if into < index:
        layers = _rename(layers, index - 1, output, folded)
        between = range(into, index - 1)
    else:
        between = range(index, into - 1)
    for position in between:
        layers = _rename(layers, position, f"{layers[position].output}:unscaled", folded)
    return layers


def _per_channel(value: Array, shape: Shape) -> Array | None:
    """A constant of the per-sample shape as one value a channel [C]; None where it varies inside a channel."""
    value = np.asarray(value)
    if any(d != 1 for d in value.shape[1:]):
        flat = value.reshape(value.shape[0], -1)
        if np.any(flat != flat[:, :1]):
            return None
        value = flat[:, :1]
    return np.broadcast_to(value.reshape(value.shape[0]), shape[:1])


def _replaced(layers: list[Layer], index: int, weight: Array, bias: Array) -> list[Layer]:
    layer = layers[index]
    assert isinstance(layer, Conv | Dense)
    dtype = layer.weight.dtype
    changed = replace(layer, weight=weight.astype(dtype), bias=bias.astype(dtype))
    return [*layers[:index], changed, *layers[index + 1 :]]
