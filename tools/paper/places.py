"""The tensors of a network that maps are read at, and how deep a fit must go for them."""

from __future__ import annotations

from collections.abc import Sequence

import mipin_ref as mr


def spatial(net: mr.Network, tensor: str) -> bool:
    """Whether a tensor is a map of more than one location."""
    shape, axis = net.shapes[tensor], net.channel_axis(tensor)
    places = [length for number, length in enumerate(shape, 1) if number != axis]
    return len(places) == 2 and places != [1, 1]


def top_down(net: mr.Network) -> list[str]:
    """The maps of a network, from the last one to its input."""
    return [tensor for tensor in reversed(net.shapes) if spatial(net, tensor)]


def chosen_tensors(net: mr.Network, asked: Sequence[str], fitted: Sequence[str]) -> list[str]:
    """The maps to explain, from the top to the pixels.

    asked: "all" (the last map and every fitted one), "last", "middle" (of all), "input" or names of tensors.
    Raises InvalidData where a name is unknown, ValueError where it is no map.
    """
    maps = top_down(net)
    every = [tensor for tensor in maps if tensor in {*fitted, maps[0], net.input}]
    words = {"all": every, "last": maps[:1], "middle": [every[len(every) // 2]], "input": [net.input]}
    wanted = {tensor for word in asked for tensor in words.get(word) or [net.tensor(word)]}
    if flat := sorted(wanted.difference(maps)):
        raise ValueError(f"tensor {flat[0]!r} of shape {list(net.shapes[flat[0]])} has no two spatial axes to point at")
    return [tensor for tensor in maps if tensor in wanted]


def deepest(net: mr.Network, asked: Sequence[str]) -> str | None:
    """The tensor at which a fit may stop: all others asked for lie above it; None for the input."""
    if {"all", "middle", "input"}.intersection(asked):
        return None
    lowest, *others = reversed(chosen_tensors(net, asked, ()))
    above = {lowest}
    for layer in net.layers:
        if above.intersection(layer.inputs):
            above.add(layer.output)
    return lowest if above.issuperset(others) else None


def last_map(net: mr.Network) -> str:
    """The last map of more than one location, Grad-CAM's own place."""
    return chosen_tensors(net, ["last"], ())[0]
