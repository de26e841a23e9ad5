"""What there is in a network: the topologies that the random graphs have to reach."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

from tests.networks.builder import Network
from tests.networks.folding import living
from tests.oracles.consumers import disjoint
from tests.oracles.export import tiled_axis
from tests.oracles.spec import (
    LRN,
    Activation,
    Add,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    Op,
    Pad,
    Reshape,
    Shape,
    Slice,
    Transpose,
    tensor_shapes,
)


class Graph:
    """A network seen from its tensors; only ops that the output needs, but for `ops`."""

    def __init__(self, network: Network) -> None:
        self.ops = network.ops
        self.alive = living(network.ops)
        self.shapes = tensor_shapes(network.ops, network.input_shape)
        self.producer = {op.output: op for op in self.alive}
        self.readers: dict[str, list[Op]] = {name: [] for name in self.shapes}
        self.ancestors: dict[str, set[str]] = {"input": {"input"}}
        self.joins = dict.fromkeys(["input"], 0)
        for op in self.alive:
            for name in op.inputs:
                self.readers[name].append(op)
            self.ancestors[op.output] = {op.output}.union(*(self.ancestors[name] for name in op.inputs))
            self.joins[op.output] = max(self.joins[name] for name in op.inputs) + (len(op.inputs) > 1)

    def read(self, op: Op) -> Shape:
        """The shape of the op's first input."""
        return self.shapes[op.inputs[0]]

    def before(self, op: Op) -> Op | None:
        return self.producer.get(op.inputs[0])

    def behind(self, op: Op) -> list[Op]:
        return self.readers[op.output]

    def beside(self, op: Op) -> list[Op]:
        """The other readers of the op's first input."""
        return [other for other in self.readers[op.inputs[0]] if other is not op]

    def slices(self) -> list[list[Slice]]:
        found = ([op for op in ops if isinstance(op, Slice)] for ops in self.readers.values())
        return [group for group in found if len(group) > 1]

    def downsampled(self, op: Op) -> bool:
        """Whether the inputs of a join all come through stride 2, one of them by nothing but a 1-convolution."""
        ways = [self.producer.get(name) for name in op.inputs]
        short = [w for w in ways if isinstance(w, Conv) and set(w.window.kernel) == {1} and set(w.strides) == {2}]
        stems = {w.inputs[0] for w in short}
        sizes = {math.prod(self.shapes[stem][1:]) for stem in stems}
        return (
            isinstance(op, Add)
            and len(short) == 1
            and stems <= set.intersection(*(self.ancestors[name] for name in op.inputs))
            and sizes != {math.prod(self.shapes[op.output][1:])}
        )


def flattens(op: Op) -> bool:
    return isinstance(op, Reshape) and len(op.shape) == 1


def padded_pool(op: Op, include: bool) -> bool:
    return isinstance(op, AveragePool) and any(op.pads) and op.count_include_pad == include


def within_channel(op: ChannelAffine) -> bool:
    return op.scale.ndim > 1 and math.prod(op.scale.shape[1:]) > 1


def shuffles(graph: Graph, op: Op) -> bool:
    before, behind = graph.before(op), graph.behind(op)
    return (
        isinstance(op, Transpose)
        and op.perm[:3] == (0, 2, 1)
        and isinstance(before, Reshape)
        and len(graph.shapes[op.output]) == len(graph.read(before)) + 1
        and isinstance(behind[0], Reshape)
        and behind[0].shape == graph.read(before)
    )


def joined(graph: Graph, op: Op, parts: type[Op]) -> bool:
    """Whether different ops of one kind, all reading one tensor, are the op's inputs."""
    ways = [graph.producer.get(name) for name in op.inputs]
    return (
        len({id(w) for w in ways}) > 1
        and all(isinstance(w, parts) for w in ways)
        and len({w.inputs[0] for w in ways if w is not None}) == 1
    )


OPS: dict[str, Callable[[Graph, Op], bool]] = {
    "grouped conv": lambda g, op: isinstance(op, Conv) and 1 < op.groups < g.read(op)[0],
    "depthwise conv": lambda g, op: isinstance(op, Conv) and 1 < op.groups == g.read(op)[0],
    "dilated conv": lambda g, op: isinstance(op, Conv) and max(op.window.dilations) > 1,
    "asymmetric pads": lambda g, op: isinstance(op, Conv) and op.window.begins != op.window.ends,
    "convs of different kernels on one tensor": lambda g, op: (
        isinstance(op, Conv) and any(isinstance(o, Conv) and o.window.kernel != op.window.kernel for o in g.beside(op))
    ),
    "convs of different dilations on one tensor": lambda g, op: (
        isinstance(op, Conv)
        and any(isinstance(o, Conv) and o.window.dilations != op.window.dilations for o in g.beside(op))
    ),
    "different strides on one tensor": lambda g, op: (
        isinstance(op, Conv)
        and any(
            isinstance(o, Conv | MaxPool | AveragePool) and o.window.strides != op.window.strides for o in g.beside(op)
        )
    ),
    "unequal groups on one tensor": lambda g, op: (
        isinstance(op, Conv) and any(isinstance(o, Conv) and o.groups != op.groups for o in g.beside(op))
    ),
    "depthwise and full conv on one tensor": lambda g, op: (
        isinstance(op, Conv)
        and 1 < op.groups == g.read(op)[0]
        and any(isinstance(o, Conv) and o.groups == 1 for o in g.beside(op))
    ),
    "identity residual": lambda g, op: (
        isinstance(op, Add) and any(a != b and a in g.ancestors[b] for a in op.inputs for b in op.inputs)
    ),
    "downsampled residual": lambda g, op: g.downsampled(op),
    "sum of three": lambda g, op: isinstance(op, Add) and len(set(op.inputs)) == 3,
    "tensor added to itself": lambda g, op: isinstance(op, Add) and len(set(op.inputs)) < len(op.inputs),
    "concat of a concat": lambda g, op: (
        isinstance(op, Concat) and any(isinstance(g.producer.get(name), Concat) for name in op.inputs)
    ),
    "concat along the map": lambda g, op: isinstance(op, Concat) and op.axis > 1,
    "concat of three": lambda g, op: isinstance(op, Concat) and len(op.inputs) == 3,
    "max-pool branch": lambda g, op: isinstance(op, MaxPool) and bool(g.beside(op)),
    "average-pool branch, pads count": lambda g, op: padded_pool(op, True) and bool(g.beside(op)),
    "average-pool branch, pads do not count": lambda g, op: padded_pool(op, False) and bool(g.beside(op)),
    "average pool, ceil mode": lambda g, op: isinstance(op, AveragePool) and op.ceil_mode,
    "max-pool, ceil mode": lambda g, op: isinstance(op, MaxPool) and op.ceil_mode,
    "pooled conv in a branch": lambda g, op: (
        isinstance(op, MaxPool | AveragePool) and isinstance(before := g.before(op), Conv) and bool(g.beside(before))
    ),
    "affine between join and activation": lambda g, op: (
        isinstance(op, ChannelAffine)
        and isinstance(g.before(op), Add | Concat)
        and isinstance(g.behind(op)[0], Activation)
    ),
    "affine within a channel": lambda g, op: isinstance(op, ChannelAffine) and within_channel(op),
    "affine per channel": lambda g, op: isinstance(op, ChannelAffine) and op.scale.ndim == 1,
    "affine of a tensor with other readers": lambda g, op: isinstance(op, ChannelAffine) and bool(g.beside(op)),
    "affine behind a layer that has another reader": lambda g, op: (
        isinstance(op, ChannelAffine) and isinstance(g.before(op), Conv | Dense) and bool(g.beside(op))
    ),
    "affine in front of a layer and of another reader": lambda g, op: (
        isinstance(op, ChannelAffine)
        and any(isinstance(o, Conv | Dense) for o in g.behind(op))
        and len(g.behind(op)) > 1
    ),
    "affine with several readers": lambda g, op: isinstance(op, ChannelAffine) and len(g.behind(op)) > 1,
    "LRN": lambda g, op: isinstance(op, LRN),
    "pad with zeros": lambda g, op: isinstance(op, Pad) and op.value == 0,
    "pad with a constant": lambda g, op: isinstance(op, Pad) and op.value != 0,
    "pad in front of a conv": lambda g, op: isinstance(op, Pad) and isinstance(g.behind(op)[0], Conv),
    "pad of channels": lambda g, op: isinstance(op, Pad) and op.begin[0] + op.end[0] > 0 and len(op.begin) > 1,
    "channel shuffle": shuffles,
    "global average pool and flatten": lambda g, op: isinstance(op, GlobalAveragePool) and flattens(g.behind(op)[0]),
    "average pool and flatten": lambda g, op: flattens(op) and isinstance(g.before(op), AveragePool),
    "transposed flatten": lambda g, op: flattens(op) and isinstance(g.before(op), Transpose),
    "dense layers of one tensor added": lambda g, op: isinstance(op, Add) and joined(g, op, Dense),
    "dense layers of one tensor side by side": lambda g, op: isinstance(op, Concat) and joined(g, op, Dense),
    "flatten and conv of one tensor": lambda g, op: flattens(op) and any(isinstance(o, Conv) for o in g.beside(op)),
    "two flattened ways side by side": lambda g, op: (
        isinstance(op, Concat)
        and all((way := g.producer.get(name)) is not None and flattens(way) for name in op.inputs)
    ),
    "dense layers of two flattened ways added": lambda g, op: (
        isinstance(op, Add)
        and len({way.inputs[0] for name in op.inputs if isinstance(way := g.producer.get(name), Dense)}) == 2
        and len(g.shapes[op.output]) == 1
    ),
    "long skip": lambda g, op: len(op.inputs) > 1 and max(d := [g.joins[n] for n in op.inputs]) - min(d) > 1,
    "three readers": lambda g, op: len(g.behind(op)) == 3,
}

WHOLE: dict[str, Callable[[Graph], bool]] = {
    **{f"rank {rank}": lambda g, rank=rank: len(g.shapes["input"]) == rank + 1 for rank in range(4)},  # type: ignore[misc]
    "input with several readers": lambda g: len(g.readers["input"]) > 1,
    "slices that tile": lambda g: any(tiled_axis(s, g.read(s[0])) == 1 for s in g.slices()),
    "slices of a map that tile": lambda g: any((tiled_axis(s, g.read(s[0])) or 0) > 1 for s in g.slices()),
    "slices with a gap": lambda g: any(
        all(disjoint(a, b) for a, b in combinations(s, 2)) and tiled_axis(s, g.read(s[0])) is None for s in g.slices()
    ),
    "slices that overlap": lambda g: any(not disjoint(a, b) for s in g.slices() for a, b in combinations(s, 2)),
    "three slices": lambda g: any(len(s) == 3 for s in g.slices()),
    "slices beside another reader": lambda g: any(len(g.readers[s[0].inputs[0]]) > len(s) for s in g.slices()),
    "a slice alone": lambda g: any(isinstance(op, Slice) and not g.beside(op) for op in g.alive),
    "dead end": lambda g: len(g.alive) < len(g.ops),
    "a tensor with a living and a dead reader": lambda g: any(
        name in op.inputs and g.readers[name] for op in g.ops if op not in g.alive for name in op.inputs
    ),
    "logits of a conv": lambda g: isinstance(g.before(g.ops[-1]), GlobalAveragePool),
    "logits added": lambda g: isinstance(g.ops[-1], Add),
    "logits side by side": lambda g: isinstance(g.ops[-1], Concat),
    "five joins": lambda g: max(g.joins.values()) >= 5,
}
