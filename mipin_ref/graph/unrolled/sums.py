"""What goes into a gate: matrix products with constants, and what is added, of rows [N, D] of several tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from onnx import NodeProto

from mipin_ref.graph.nodes import Nodes, told_of
from mipin_ref.layers import HostArray

ROUNDING = 4
"""In eps of the largest bias: a bias of x and one of the state are added in another order."""

LAST = (1, -1)
"""The axis of features of rows."""

MOST = 2**31 - 1
"""What files write for the end of an axis, or more."""

DEEPEST = 8
"""How many sums and parts lie one in another at most: a cell has five; a file may add a tensor to itself at will."""


@dataclass(frozen=True)
class Sums:
    """Σ x W + b [N, H]. parts: W [D, H] and b [H], by the tensor x [N, D]; rest: what is added to several, [H] or 0.

    A constant has no parts: what is made of a state that the file holds.
    """

    parts: Mapping[str, tuple[HostArray, HostArray]]
    rest: HostArray

    @property
    def width(self) -> int:
        return int(next((weight.shape[1] for weight, _ in self.parts.values()), self.rest.size))

    def columns(self, start: int, stop: int) -> Sums:
        parts = {name: (weight[:, start:stop], bias[start:stop]) for name, (weight, bias) in self.parts.items()}
        return Sums(parts, self.rest if not self.rest.ndim else self.rest[start:stop])


def sums(nodes: Nodes, name: str, levels: int = DEEPEST) -> Sums | None:
    """How a tensor is summed of others; None where it is made in another way, or in more levels."""
    constant = nodes.row(name)
    if constant is not None:
        return Sums({}, constant)
    node = nodes.made(name, "Add", "Split", "Slice", "Gemm", "MatMul")
    if node is None or levels < 1:
        return None
    if node.op_type == "Add":
        return _added(*(sums(nodes, one, levels - 1) for one in node.input))
    if node.op_type in ("Gemm", "MatMul"):
        return _product(nodes, node, levels - 1)
    whole = sums(nodes, node.input[0], levels - 1)
    if whole is None:
        return None
    bounds = _split(nodes, node, name, whole.width) if node.op_type == "Split" else _slice(nodes, node, whole.width)
    return None if bounds is None else whole.columns(*bounds)


def of_several(nodes: Nodes, name: str, levels: int = DEEPEST) -> bool:
    """Whether `sums` may find several tensors that one is summed of. Told by the nodes alone: no weight is read."""
    return _count(nodes, name, levels) > 1


def _count(nodes: Nodes, name: str, levels: int) -> int:
    node = nodes.made(name, "Add", "Split", "Slice", "Gemm", "MatMul")
    if node is None or levels < 1:
        return 0
    if node.op_type in ("Gemm", "MatMul"):
        joined = nodes.made(node.input[0], "Concat")
        beside = _count(nodes, node.input[2], levels - 1) if len(node.input) > 2 else 0
        return beside + (1 if joined is None else len(joined.input))
    return sum(_count(nodes, one, levels - 1) for one in (node.input if node.op_type == "Add" else node.input[:1]))


def _added(a: Sums | None, b: Sums | None) -> Sums | None:
    if a is None or b is None or a.width != b.width or a.parts.keys() & b.parts.keys():
        return None
    both = {**a.parts, **b.parts}
    if len(both) == 1 and len(a.parts) != len(b.parts):
        # A constant that is added to one product is its bias.
        ((name, (weight, bias)),) = both.items()
        one, constant = (a, b) if a.parts else (b, a)
        return Sums({name: (weight, bias + constant.rest)}, one.rest)
    return Sums(both, np.asarray(a.rest + b.rest))


def _product(nodes: Nodes, node: NodeProto, levels: int) -> Sums | None:
    weight = nodes.constant(node.input[1])
    if weight is None or weight.ndim != 2 or told_of(node, "transA", 0):
        return None
    alpha, beta = (weight.dtype.type(told_of(node, name, 1.0)) for name in ("alpha", "beta"))
    weight = weight.T if told_of(node, "transB", 0) else weight
    # A factor of one makes no copy of a large matrix.
    weight = weight if alpha == 1 else alpha * weight
    bias = np.zeros(weight.shape[1], weight.dtype)
    if len(node.input) > 2 and node.input[2]:
        given = nodes.constant(node.input[2])
        if given is None:
            # What a Gemm adds may be made of the sample too.
            bare = NodeProto()
            bare.CopyFrom(node)
            del bare.input[2]
            beside = sums(nodes, node.input[2], levels) if beta == 1 else None
            return _added(_product(nodes, bare, levels), beside)
        if given.size != weight.shape[1]:
            return None
        bias = beta * given.reshape(-1)
    joined = nodes.made(node.input[0], "Concat")
    if joined is not None and told_of(joined, "axis") in LAST:
        return _joined(nodes, joined, weight, bias)
    if nodes.constant(node.input[0]) is None:
        return Sums({str(node.input[0]): (weight, bias)}, np.zeros((), weight.dtype))
    state = nodes.row(node.input[0])
    return None if state is None or len(state) != len(weight) else Sums({}, state @ weight + bias)


def _joined(nodes: Nodes, node: NodeProto, weight: HostArray, bias: HostArray) -> Sums | None:
    """The product of tensors side by side: the sum of products with a part of the matrix each."""
    widths = [nodes.width(name) for name in node.input]
    if widths.count(None) == 1:
        rest = len(weight) - sum(width or 0 for width in widths)
        widths = [rest if width is None else width for width in widths]
    known = [width for width in widths if width is not None]
    if len(known) < len(widths) or sum(known) != len(weight) or min(known) < 1 or len({*node.input}) < len(known):
        return None
    parts = dict(zip(node.input, np.split(weight, np.cumsum(known)[:-1]), strict=True))
    states = {name: nodes.row(name) for name in parts}
    for name, state in states.items():
        bias = bias if state is None else state @ parts[name] + bias
    zero = np.zeros_like(bias)
    free = [name for name in parts if nodes.constant(name) is None]
    if len(free) == 1:
        return Sums({free[0]: (parts[free[0]], bias)}, np.zeros((), weight.dtype))
    return Sums({name: (parts[name], zero) for name in free}, bias)


def _split(nodes: Nodes, node: NodeProto, name: str, width: int) -> tuple[int, int] | None:
    """Which columns an output of a Split is."""
    if told_of(node, "axis", 0) not in LAST:
        return None
    count = len(node.output)
    sizes = nodes.whole(node.input[1]) if len(node.input) > 1 else told_of(node, "split")
    if sizes is None and width % count == 0:
        sizes = (width // count,) * count
    if sizes is None or sum(sizes) != width or len(sizes) != count:
        return None
    place = next((place for place, one in enumerate(node.output) if one == name), None)
    return None if place is None else (sum(sizes[:place]), sum(sizes[: place + 1]))


def _slice(nodes: Nodes, node: NodeProto, width: int) -> tuple[int, int] | None:
    """Which columns a Slice is, where it is told as inputs."""
    if len(node.input) < 4:
        return None
    starts, ends, axes, *steps = (nodes.whole(name) for name in node.input[1:] if name)
    if axes is None or starts is None or ends is None or not len(axes) == len(starts) == len(ends):
        return None
    told = {axis % 2: (start, end) for axis, start, end in zip(axes, starts, ends, strict=True)}
    # Keras slices rows along both axes, along that of samples all of them.
    whole = told.pop(0, (0, MOST))
    if len(told) != 1 or len(axes) > 2 or whole[0] or whole[1] < MOST or steps not in ([], [(1,) * len(axes)]):
        return None
    start, stop, _ = slice(*told[1]).indices(width)
    return (start, stop) if start < stop else None


def apart(made: Sequence[Sums], count: int) -> list[tuple[str, str]]:
    """The row that a step reads and the state before, of which all its `count` sums are; none where they are not.

    The matrix of the state is square; where both are, either may be the state.
    """
    if len(made) != count or any(part.parts.keys() != made[0].parts.keys() for part in made):
        return []
    width, names = made[0].width, [*made[0].parts]
    if len(names) != 2 or any(part.width != width for part in made):
        return []
    return [(row, past) for row, past in permutations(names) if made[0].parts[past][0].shape[0] == width]


def stacked(made: Sequence[Sums], x: str, past: str) -> tuple[HostArray, HostArray, HostArray]:
    """Weights, recurrence and bias of the operator, blocks in the order that they are given in."""
    weight = np.concatenate([part.parts[x][0].T for part in made])
    recurrence = np.concatenate([part.parts[past][0].T for part in made])
    of_input = np.concatenate([part.parts[x][1] + part.rest for part in made])
    of_past = np.concatenate([part.parts[past][1] for part in made])
    return weight, recurrence, np.concatenate([of_input, of_past])


def only(made: Sequence[Sums]) -> str | None:
    """The one row that all sums are of, all as wide."""
    names = {tuple(part.parts) for part in made}
    alike = len(names) == 1 and len({part.width for part in made if part.parts}) == 1
    return next(iter(made[0].parts)) if alike and len(made[0].parts) == 1 else None


def close(mine: HostArray, theirs: HostArray) -> bool:
    """Whether biases are the same but for rounding."""
    if mine.shape != theirs.shape:
        return False
    return bool(np.max(np.abs(mine - theirs)) <= ROUNDING * np.finfo(theirs.dtype).eps * np.max(np.abs(theirs)))
