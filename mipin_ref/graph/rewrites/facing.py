"""What a target faces: where the output is put together of parts, the part that it lies in, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mipin_ref.graph.layer_list import leading_to
from mipin_ref.graph.network import Network
from mipin_ref.layers import Concat, Reshape, Shape, Transpose

_parts: WeakKeyDictionary[Network, dict[str, Network]] = WeakKeyDictionary()


def facing(net: Network, target: int) -> tuple[Network, int]:
    """The network whose logits are the last tensor of which a target is an entry, and the target's index there.

    target: an index into the logits [N, classes]. Logits of several axes are flattened there. What other parts of the
    output are made of is on no path to the target, whatever operators it holds (method, section 2). The network itself
    where its logits have one axis and all of it has an inverse: there the signals of other parts are zero, which gives
    the same.
    """
    if not net.apart and len(net.shapes[net.logits]) == 1:
        return net, target
    makers = {layer.output: layer for layer in net.layers}
    name: str = net.logits
    index = _unravelled(target, net.shapes[name])
    end = name, index
    while (layer := makers.get(name)) is not None:
        if isinstance(layer, Concat):
            name, index = _part(layer, index)
            end = name, index
        elif isinstance(layer, Reshape):
            flat = int(np.ravel_multi_index(index, layer.out_shape)) if layer.out_shape else 0
            name, index = layer.input, _unravelled(flat, layer.in_shape)
        elif isinstance(layer, Transpose):
            moved = dict(zip(layer.perm[1:], index, strict=True))
            name, index = layer.input, tuple(moved[axis] for axis in range(1, len(index) + 1))
        elif layer.cut is not None:
            name, index = layer.input, tuple(entries[at] for entries, at in zip(layer.cut, index, strict=True))
        else:
            break
    name, index = end
    shape = net.shapes[name]
    if name not in makers or (name == net.logits and len(shape) == 1):
        return net, target
    parts = _parts.setdefault(net, {})
    if name not in parts:
        parts[name] = _cut(net, name)
    return parts[name], int(np.ravel_multi_index(index, shape)) if shape else 0


def faced(net: Network, targets: npt.NDArray[np.int64]) -> tuple[Network, npt.NDArray[np.int64]]:
    """The part of the network that all of these targets [N] lie in, and their indices there; see `facing`.

    Where they lie in several parts, it is the whole network, its logits flattened.
    """
    parts = {int(one): facing(net, int(one)) for one in np.unique(targets)}
    networks = {id(part): part for part, _ in parts.values()}
    if len(networks) != 1:
        return flattened(net), targets
    (part,) = networks.values()
    return part, np.array([parts[int(one)][1] for one in targets], np.int64)


def flattened(net: Network) -> Network:
    """The network with logits of one axis; itself where they have one."""
    if len(net.shapes[net.logits]) == 1:
        return net
    parts = _parts.setdefault(net, {})
    if net.logits not in parts:
        parts[net.logits] = _cut(net, net.logits)
    return parts[net.logits]


def _cut(net: Network, name: str) -> Network:
    """The network that ends at a tensor, whose entries are the logits."""
    shape, flat = net.shapes[name], name
    layers = leading_to(net.layers, {name})
    if len(shape) != 1:
        flat = f"{name}:classes"
        while flat in net.shapes:
            flat += "'"
        layers.append(Reshape(name=flat, inputs=(name,), output=flat, in_shapes=(shape,), out_shape=(prod(shape),)))
    read = {one for layer in layers for one in layer.inputs}
    return replace(
        net,
        layers=tuple(layers),
        logits=flat,
        target_shape=shape,
        sources={source: size for source, size in net.sources.items() if source in read},
        removed=None,
    )


def _part(concat: Concat, index: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """The input that an entry of the output comes from, and its index there."""
    axis = concat.axis - 1
    at = index[axis]
    for name, shape in zip(concat.inputs, concat.in_shapes, strict=True):
        if at < shape[axis]:
            return name, (*index[:axis], at, *index[axis + 1 :])
        at -= shape[axis]
    raise IndexError(f"entry {index} is not in the output of {concat.name!r}")


def _unravelled(flat: int, shape: Shape) -> tuple[int, ...]:
    return tuple(int(one) for one in np.unravel_index(flat, shape)) if shape else ()
