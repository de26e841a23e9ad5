"""Tokens: the locations that attention mixes, followed through the layers between, and where in a picture each one is.

What is asked of many tokens at once is asked of the binary digits of their numbers: of the elements that lead to those
tokens whose digit is 0, and of those that lead to the others. Seven such pairs tell a hundred tokens apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import reduce
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray, Layer, Shape
from mipin_ref.layers.groups import FrozenOperand
from mipin_ref.layers.kind import Flags

Numbers = npt.NDArray[np.int64]
NONE, SEVERAL = -1, -2
"""In place of a token's number: that an element belongs to none, or to several."""

_grids: WeakKeyDictionary[Network, dict[str, Grid | None]] = WeakKeyDictionary()
_maps: WeakKeyDictionary[Network, str | None] = WeakKeyDictionary()


def attends(layer: Layer) -> bool:
    """Whether a layer mixes locations by weights that are state, as attention does."""
    return isinstance(layer, FrozenOperand) and layer.mixes


def traced(
    net: Network, start: str, wanted: Flags, *, floor: str | None = None, through: bool = False
) -> dict[str, Flags]:
    """The elements of every tensor above one that lead to wanted ones of it, by tensor [*shape], itself included.

    floor: the first tensor, in execution order, that is asked about; through: whether the way may go through attention;
    else it ends at what attention makes, and goes round it.
    """
    flags, names = {start: wanted}, [*net.shapes]
    for name in reversed(names[0 if floor is None else names.index(floor) : names.index(start)]):
        parts = [
            layer.leads(flags[layer.output], slot)
            for layer, slot in net.consumers[name]
            if slot in layer.paths and layer.output in flags and (through or not attends(layer))
        ]
        if parts:
            flags[name] = reduce(np.logical_or, parts)
    return flags


def digits(count: int) -> Iterator[tuple[int, Flags, Flags]]:
    """Each binary digit of the numbers below `count`: what it is worth, where it is 0 [count], and where it is 1."""
    numbers = np.arange(count)
    for place in range(max(1, (count - 1).bit_length())):
        ones = numbers >> place & 1 == 1
        yield 1 << place, ~ones, ones


def along(axis: int, flags: Flags, shape: Shape) -> Flags:
    """Flags [shape[axis]] as those of all elements [*shape]; axis: of the sample, from 0."""
    return np.broadcast_to(flags.reshape([-1 if one == axis else 1 for one in range(len(shape))]), shape)


def numbered(net: Network, start: str, axis: int, names: Collection[str]) -> dict[str, Numbers]:
    """The place on an axis of one tensor that each element of others leads to [*shape], or NONE, or SEVERAL.

    axis: of a sample of `start`, from 0; names: tensors above it, of which those that do not lead to it are left out.
    No way through attention counts.
    """
    shape, names = net.shapes[start], {*names}
    found = {name: np.zeros(net.shapes[name], np.int64) for name in names}
    none = {name: np.ones(net.shapes[name], np.bool_) for name in names}
    several = {name: np.zeros(net.shapes[name], np.bool_) for name in names}
    reached: set[str] = set()
    for worth, zeros, ones in digits(shape[axis]):
        left, right = (traced(net, start, along(axis, flags, shape)) for flags in (zeros, ones))
        for name in found.keys() & left.keys():
            reached.add(name)
            found[name] += worth * right[name]
            none[name] &= ~(left[name] | right[name])
            several[name] |= left[name] & right[name]
    return {name: np.where(none[name], NONE, np.where(several[name], SEVERAL, found[name])) for name in reached}


@dataclass(frozen=True, eq=False)
class Grid:
    """A tensor of tokens seen as a picture: places [H, W] hold the number of the token that lies there, or NONE."""

    places: Numbers

    @property
    def rows(self) -> Numbers:
        """The tokens that lie in the picture, in rising order: all but a class token and the like."""
        return np.unique(self.places[self.places != NONE])

    def laid_out(self, values: HostArray) -> HostArray:
        """Values [..., T] as [..., H, W], zero where no token lies."""
        return np.where(self.places == NONE, values.dtype.type(0), values[..., self.places])


def token_axis(net: Network, name: str) -> int | None:
    """The axis of a sample, from 0, that counts the tokens of a tensor [T, C] or [C, T]; None of any other."""
    channels = net.channel_axis(name)
    if len(net.shapes[name]) != 2 or channels is None:
        return None
    return 2 - channels


def grid_of(net: Network, name: str) -> Grid | None:
    """Where in a picture the tokens of a tensor lie; None where they do not, and of a network without attention.

    The picture is the nearest tensor above that is a map of which each location belongs to one token at most.
    """
    grids = _grids.setdefault(net, {})
    if name not in grids:
        grids[name] = _grid(net, name)
    return grids[name]


def places_of_tokens(net: Network, name: str) -> Numbers | None:
    """The places of `grid_of`, for an Attribution; None where there are none."""
    grid = grid_of(net, name) if name in net.shapes else None
    return None if grid is None else grid.places


def _grid(net: Network, name: str) -> Grid | None:
    axis = token_axis(net, name)
    if axis is None or name not in net.carrying or not any(map(attends, net.layers)):
        return None
    names = [*net.shapes]
    maps = [one for one in names[: names.index(name)] if map_size(net, one)]
    found = numbered(net, name, axis, maps)
    for one in reversed([one for one in maps if one in found]):
        channels = net.channel_axis(one)
        assert channels is not None
        low, high = (choose(found[one], axis=channels - 1) for choose in (np.min, np.max))
        if np.array_equal(low, high) and low.min() > SEVERAL and low.max() > 0:
            return Grid(low)
    return None


def map_size(net: Network, name: str) -> Shape:
    """The lengths of the two or more axes of places of a map, each above 1; empty for any other tensor."""
    axis = net.channel_axis(name)
    size = tuple(length for number, length in enumerate(net.shapes[name], 1) if number != axis)
    return size if axis is not None and len(size) > 1 and min(size) > 1 else ()


def token_map(net: Network) -> str | None:
    """The last tensor of tokens that is a picture: all tokens that lie in it count for the target, and all that they
    count for goes through that tensor; None where the network has none.

    A projection of such a tensor is none itself. In a network that is read at its class token it is what the last
    attention reads: behind it the other tokens count for nothing.
    """
    if net not in _maps:
        _maps[net] = _token_map(net)
    return _maps[net]


def _token_map(net: Network) -> str | None:
    if not any(map(attends, net.layers)):
        return None
    makers = {layer.output: layer for layer in net.layers}
    alive = traced(net, net.logits, np.ones(net.shapes[net.logits], np.bool_), through=True)
    for name in reversed([one for one in net.shapes if one not in net.inner]):
        axis, maker = token_axis(net, name), makers.get(name)
        if axis is None or name not in alive or maker is None or maker.inverse == "shared" or maker.rearranges:
            continue
        living = np.any(alive[name], axis=1 - axis)
        if living.sum() < 2 or name in net.hidden:
            continue
        grid = grid_of(net, name)
        if grid is not None and living[grid.rows].all() and not _gone_round(net, name, grid, alive):
            return name
    return None


def _gone_round(net: Network, name: str, grid: Grid, alive: dict[str, Flags]) -> bool:
    """Whether something of the tokens of a picture reaches the logits without passing a tensor of them."""
    position = {one: place for place, one in enumerate(net.shapes)}
    for source in [*net.shapes][: position[name]]:
        if source not in net.moved:
            continue
        axis = token_axis(net, source)
        for layer, slot in net.consumers[source]:
            if position[layer.output] <= position[name]:
                continue
            if slot not in layer.paths or layer.output not in alive:
                return True
            led = layer.leads(alive[layer.output], slot)
            if axis is not None and net.shapes[source][axis] > grid.rows.max():
                led = np.take(led, grid.rows, axis=axis)
            if led.any():
                return True
    return False
