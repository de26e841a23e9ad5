"""The attention layers of a network that mix the same tokens one after the other, as rollouts take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from weakref import WeakKeyDictionary

import numpy as np

from mipin_ref.errors import InvalidData, UnsupportedModel
from mipin_ref.graph.network import Network
from mipin_ref.graph.tokens import NONE, SEVERAL, Numbers, along, digits, numbered, token_axis, traced
from mipin_ref.layers import Attention, HostArray
from mipin_ref.layers.kind import Flags

_chains: WeakKeyDictionary[Network, Chain] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Link:
    """One attention layer; residual: whether its tokens also go round it."""

    layer: Attention
    residual: bool

    @property
    def weights(self) -> str:
        """The tensor P [*around, heads, queries, keys]."""
        return self.layer.inputs[1]


@dataclass(frozen=True, eq=False)
class Chain:
    """The links in execution order; tokens: how many each of them mixes."""

    net: Network
    links: tuple[Link, ...]
    tokens: int
    _lying: dict[str, Numbers] = field(default_factory=dict)

    @cached_property
    def class_token(self) -> int | None:
        """The one token behind the last attention that all targets read, where it goes round some attention on its
        way; None where several are read.
        """
        read = np.flatnonzero(self._read(np.ones(self.net.shapes[self.net.logits], np.bool_)))
        alone = len(read) == 1 and self.tokens > 1 and any(link.residual for link in self.links)
        return int(read[0]) if alone else None

    def read(self, index: int) -> Flags:
        """The tokens behind the last attention that a target reads [T]; index: into the logits."""
        seed = np.zeros(self.net.shapes[self.net.logits], np.bool_)
        seed.reshape(-1)[index] = True
        return self._read(seed)

    def _read(self, logits: Flags) -> Flags:
        last = self.links[-1].layer
        return _rows(last, traced(self.net, self.net.logits, logits, floor=last.output))

    def lies_at(self, name: str, method: str) -> Numbers:
        """The token that each element of a tensor belongs to [*shape], NONE where it is of none.

        Raises InvalidData where elements belong to several, or none to any.
        """
        if name not in self._lying:
            self._lying[name] = self._laid(name, method)
        return self._lying[name]

    def _laid(self, name: str, method: str) -> Numbers:
        position = {one: place for place, one in enumerate(self.net.shapes)}
        behind = [one.layer for one in self.links if position[one.layer.input] >= position[name]]
        numbers = self._above(behind[0], name) if behind else self._behind(name)
        if numbers is None or numbers.max() == NONE or numbers.min() == SEVERAL:
            raise InvalidData(
                f"method {method!r} tells of tokens, and {name!r} has no elements that belong to one token each; leave "
                f"option 'at' out, which is {self.first()!r}"
            )
        return numbers

    def first(self) -> str:
        """The tensor that tokens are told of where no other is asked for: the table's rows that ids look up, else the
        first tensor [T, C] that holds all tokens that attention mixes.
        """
        net, layer = self.net, self.links[0].layer
        names = [name for name in net.shapes if name not in net.inner and token_axis(net, name) is not None]
        found = numbered(net, layer.input, len(layer.in_shape) - 2, names)
        for name in net.embeddings[:1]:
            if name in found and found[name].min() > SEVERAL:
                return name
        for name in names:
            if name in found and np.array_equal(np.unique(found[name]), np.arange(self.tokens)):
                return name
        return layer.input

    def _above(self, layer: Attention, name: str) -> Numbers | None:
        return numbered(self.net, layer.input, len(layer.in_shape) - 2, [name]).get(name)

    def _behind(self, name: str) -> Numbers | None:
        """The same of a tensor [T, C] behind the last attention: its places, where they are those of its tokens."""
        net, axis, last = self.net, token_axis(self.net, name), self.links[-1].layer
        if axis is None or net.shapes[name][axis] != self.tokens or name not in net.carrying:
            return None
        for _, zeros, ones in digits(self.tokens):
            for wanted in (zeros, ones):
                flags = traced(net, name, along(axis, wanted, net.shapes[name]), floor=last.output)
                if last.output not in flags or not np.array_equal(_rows(last, flags), wanted):
                    return None
        shape: list[int] = [1, 1]
        shape[axis] = self.tokens
        return np.broadcast_to(np.arange(self.tokens).reshape(shape), net.shapes[name])


def attention_of(net: Network) -> list[Attention]:
    """The attention layers that signals of the logits come back through, in execution order."""
    return [layer for layer in net.layers if type(layer) is Attention and layer.output in net.carrying]


def chain_of(net: Network, method: str) -> Chain:
    """The chain of a network. Raises UnsupportedModel, naming the layer and the reason, where there is none."""
    if net not in _chains:
        _chains[net] = _chain(net, method)
    return _chains[net]


def _chain(net: Network, method: str) -> Chain:
    layers = attention_of(net)
    if not layers:
        raise UnsupportedModel(f"method {method!r} follows attention, and the network has none")
    for layer in layers:
        queries, keys = layer.in_shapes[1][-2:]
        if (windows := prod(layer.in_shape[:-2])) > 1:
            _refuse(method, layer, f"mixes them in {windows} windows apart from each other")
        if queries != keys:
            _refuse(method, layer, f"makes {queries} of {keys}")
        if keys != layers[0].in_shapes[1][-1]:
            _refuse(method, layer, f"mixes {keys}, the first one {layers[0].in_shapes[1][-1]}")
    links = [_link(net, layer, after, method) for layer, after in zip(layers, [*layers[1:], None], strict=True)]
    return Chain(net, tuple(links), layers[0].in_shapes[1][-1])


def _refuse(method: str, layer: Attention, reason: str) -> None:
    raise UnsupportedModel(
        f"method {method!r} follows the same tokens from one attention to the next, and layer {layer.name!r} "
        f"({layer.kind}) {reason}"
    )


def _link(net: Network, layer: Attention, after: Attention | None, method: str) -> Link:
    """A layer as a link, once it is sure that the next one, or the target, reads its tokens each in its own place, and
    what goes round it in the same places.
    """
    floor, residual = _floor(net, layer), False
    for wanted, read in _asked(net, layer, after):
        if not read.any():
            _refuse(method, layer, "is read by no later one" if after is not None else "is not read by the logits")
        behind = _from(net, layer, after, wanted, floor)
        if after is not None and not np.array_equal(_rows(layer, behind), wanted):
            _refuse(method, layer, "is followed by what mixes them otherwise")
        shape = layer.in_shape
        own = traced(net, layer.input, along(len(shape) - 2, read, shape), floor=floor)
        shared = [name for name in net.shapes if name in own and name in behind and name != layer.output]
        if shared and not np.array_equal(own[shared[-1]], behind[shared[-1]]):
            _refuse(method, layer, f"mixes others than those of {shared[-1]!r} that go round it")
        residual = bool(shared) and (residual or bool(behind[shared[-1]].any()))
    return Link(layer, residual)


def _asked(net: Network, layer: Attention, after: Attention | None) -> list[tuple[Flags, Flags]]:
    """Which tokens are asked for behind a layer, and which it must have made for them [T]; of the target all."""
    count = layer.in_shapes[1][-1]
    if after is not None:
        return [(flags, flags) for _, zeros, ones in digits(count) for flags in (zeros, ones) if flags.any()]
    everything = np.ones(net.shapes[net.logits], np.bool_)
    flags = traced(net, net.logits, everything, floor=layer.output)
    return [(everything, _rows(layer, flags))]


def _from(net: Network, layer: Attention, after: Attention | None, wanted: Flags, floor: str) -> dict[str, Flags]:
    if after is None:
        return traced(net, net.logits, wanted, floor=floor)
    shape = after.in_shape
    return traced(net, after.input, along(len(shape) - 2, wanted, shape), floor=floor)


def _floor(net: Network, layer: Attention) -> str:
    """The tensor above which a way round a layer is not looked for: what the attention before it mixes."""
    before = [one for one in attention_of(net) if net.layers.index(one) < net.layers.index(layer)]
    return before[-1].input if before else net.input


def _rows(layer: Attention, flags: Mapping[str, Flags]) -> Flags:
    """Which of the tokens that a layer makes are flagged [T]."""
    made = flags.get(layer.output)
    if made is None:
        return np.zeros(layer.out_shape[-2], np.bool_)
    rows: Flags = np.any(made, axis=tuple(axis for axis in range(made.ndim) if axis != made.ndim - 2))
    return rows


def shared_out(scores: HostArray, numbers: Numbers) -> HostArray:
    """Scores [n, T] of tokens as those of elements [n, *shape], of which all of a token share alike."""
    counts = np.bincount(numbers[numbers != NONE].ravel(), minlength=scores.shape[1])
    each = scores / np.maximum(counts, 1)
    return np.where(numbers == NONE, scores.dtype.type(0), each[:, numbers])
