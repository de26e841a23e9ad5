"""Feature maps: which tensors of a network have channels and places, and hold more than the input moved about."""

from __future__ import annotations

from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.graph.tokens import attends, map_size, token_map
from mipin_ref.layers import Layer, Shape
from mipin_ref.layers.kind import disjoint


def feature_maps(net: Network) -> list[str]:
    """One feature map a resolution, the last one of the network first.

    A feature map has channels and two or more axes of more than one location, and its signal is reconstructed by a
    fitted inverse, directly or through reshapes. Among those of one resolution is preferred what every way from the
    input to the logits passes, so that nothing goes round it; then what is behind an activation; then what is nearest
    to the logits. A tensor that holds only the input, rescaled or rearranged, is left out, and so is one that holds
    another rearranged, unless that is a map but for axes of one. Where there is attention, the last map of tokens is
    one (see `token_map`), and what attention mixes, beside queries and keys, is none.
    """
    every_way, input_like = _on_every_way(net), _input_like(net)
    attending, tokens = any(map(attends, net.layers)), token_map(net)
    _, activated = signs(net)
    rearranged = _rearranged(net)
    best: dict[Shape, tuple[tuple[bool, bool, int], str]] = {}
    names = [name for name in reversed(net.shapes) if name != net.logits and name not in net.inner]
    for depth, name in enumerate(names):
        size = map_size(net, name)
        if (
            name not in net.carrying
            or not size
            or (attending and name not in every_way)
            or name in input_like
            or name in rearranged
            or not _reconstructed(net, name)
        ):
            continue
        rank = (name in every_way, name in activated, -depth)
        best[size] = max(best.get(size, (rank, name)), (rank, name))
    if tokens is not None:
        best[net.shapes[tokens]] = (True, False, -names.index(tokens)), tokens
    return [name for _, name in sorted(best.values(), key=lambda one: -one[0][2])]


def last_feature_map(net: Network) -> str:
    """The feature map nearest to the logits. Raises InvalidData where the network has none."""
    maps = feature_maps(net)
    if not maps:
        raise InvalidData(
            "the last feature map, a tensor of channels with two axes of places behind a Conv or a pool, is to be "
            "explained, and this network has none; name a tensor with channels and a map to explain that"
        )
    return maps[0]


def signs(net: Network) -> tuple[set[str], set[str]]:
    """The tensors that cannot be negative; these and all others that come out of an activation."""
    floored: set[str] = set()
    activated: set[str] = set()
    for layer in net.layers:
        if layer.never_negative(floored.issuperset(layer.inputs)):
            floored.add(layer.output)
        if layer.fires or layer.output in floored or (layer.carries and activated.issuperset(layer.inputs)):
            activated.add(layer.output)
    return floored, activated


def _reconstructed(net: Network, name: str) -> bool:
    """Whether the signal of a tensor comes out of a fit: its own, or that of the same values in another shape."""
    while name != net.logits:
        readers = net.carriers(name)
        if not (len(readers) == 1 or _is_split(readers)) or readers[0].inverse != "passes":
            return True
        if not readers[0].rearranges:
            return False
        name = readers[0].output
    return False


def _is_split(readers: list[Layer]) -> bool:
    """Whether all readers cut out parts that do not meet: together they are one Split."""
    boxes = [layer.cut for layer in readers if layer.cut is not None]
    return len(boxes) == len(readers) and disjoint(boxes)


def _rearranged(net: Network) -> set[str]:
    """The tensors that hold another one rearranged, but for the first map made of one that only axes of one keep from
    being a map, as a pool leaves them behind windows.
    """
    return {layer.output for layer in net.layers if layer.rearranges and not _map_with_axes_of_one(net, layer.input)}


def _map_with_axes_of_one(net: Network, name: str) -> bool:
    shape = net.shapes[name]
    return not map_size(net, name) and 1 in shape and sum(length > 1 for length in shape) > 2


def _on_every_way(net: Network) -> set[str]:
    """The tensors that no way from the input to the logits avoids: no layer reads across them in execution order."""
    position = {name: number for number, name in enumerate(net.shapes)}
    unavoidable, furthest = set(), 0
    for name, number in position.items():
        if furthest <= number:
            unavoidable.add(name)
        if name in net.carrying:
            furthest = max([furthest, *(position[layer.output] for layer in net.carriers(name))])
    return unavoidable


def _input_like(net: Network) -> set[str]:
    """The input and what is made of it without a weighted sum or a pool over locations."""
    input_like = {net.input}
    for layer in net.layers:
        if not layer.mixes:
            input_like.update([layer.output] if input_like.issuperset(layer.inputs) else [])
    return input_like
