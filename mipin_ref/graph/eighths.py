"""Weights of an explainer in eight bits: those of the way back in steps; those of the network end in zeros."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mipin_ref.graph.document import HALF_FROM, Document

STEPS = 127
"""Steps of a number in eight bits, on either side of zero."""
LINE, SHORTEST = 112, 32
"""Entries that share a step, at most; and at least, where they are not all that lie on one line."""
NETWORK_BITS = 14
"""Significant bits that are kept of a weight of the network: it is off by a 2¹⁵th at most. Behind them are zeros, which
a page compresses; with the 11 bits of half precision masks flip, which takes away or adds whole signals."""
PRODUCTS = ("Gemm", "MatMul", "Conv", "ConvTranspose")

Readers = Mapping[str, Sequence[tuple[NodeProto, int]]]


@dataclass(frozen=True)
class Axes:
    """Of a matrix or kernel that a product reads: that over which the product sums, and that of what it makes."""

    summed: int
    made: int


def narrow(document: Document) -> None:
    """Store weights in eight bits: those of the way back that `document` holds in half precision, where one product
    alone reads them. Weights that products of the network read lose what lies behind NETWORK_BITS.

    Entries of one summed index have one step, by LINE of what is made: signals of unlike size come into a product, and
    the weights of each are as large as it is small. What is made of them, where another product reads it, may be of
    unlike size too: it has a factor besides. Made again when the file runs, as DequantizeLinear would, which knows
    steps of several entries of a line from opset 21 on.
    """
    graph = document.model.graph
    goes_on = _read_by_products(graph.node)
    readers: dict[str, list[tuple[NodeProto, int]]] = defaultdict(list)
    for node in graph.node:
        for slot, name in enumerate(node.input):
            readers[name].append((node, slot))
    kept: list[TensorProto] = []
    for stored in [*graph.initializer]:
        way = _Way.of(stored, readers)
        if way is not None:
            inner = not goes_on.isdisjoint(way.product.output)
            narrowed = way.narrowed(document, numpy_helper.to_array(stored), inner=inner)
            kept.extend(narrowed or [stored])
        elif stored.data_type == TensorProto.FLOAT and np.prod(stored.dims) >= HALF_FROM and _products(readers, stored):
            kept.append(numpy_helper.from_array(trimmed(numpy_helper.to_array(stored)), stored.name))
        else:
            kept.append(stored)
    made = {one.name for one in kept}
    kept.extend(one for one in graph.initializer if one.name not in made and one.data_type == TensorProto.INT64)
    del graph.initializer[:]
    graph.initializer.extend(kept)


def trimmed(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The nearest numbers of NETWORK_BITS significant bits."""
    fraction, exponent = np.frexp(array)
    whole = np.rint(np.ldexp(fraction, NETWORK_BITS))
    return np.asarray(np.ldexp(whole, exponent - NETWORK_BITS), np.float32)


def stepped(
    array: npt.NDArray[Any], axes: Axes, leading: int = 0
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """Numbers of steps, and the steps: their product is the array but for half a step, where axis `made` is two.

    array: [..., made, ...]; leading: axes in front of which each index has steps of its own, before those that `axes`
    counts. Returns [..., lines, entries of a line, ...], and the same with axes of one where a step is shared.
    """
    made, summed = axes.made + leading, axes.summed + leading
    line = line_of(array.shape[made])
    apart = array.reshape(*array.shape[:made], -1, line, *array.shape[made + 1 :]).astype(np.float64)
    own = {*range(leading), made, summed + (summed > made)}
    shared = tuple(axis for axis in range(apart.ndim) if axis not in own)
    least = np.abs(apart).max(axis=shared, keepdims=True) / STEPS
    steps = least.astype(np.float16)
    # A step that was rounded down would not reach the largest entry.
    steps = np.where(steps < least, np.nextafter(steps, np.float16(np.inf)), steps)
    numbers = np.rint(np.divide(apart, steps, out=np.zeros_like(apart), where=steps > 0))
    return numbers.astype(np.int8), steps


def factors_of(array: npt.NDArray[Any], axes: Axes, leading: int = 0) -> npt.NDArray[np.float16]:
    """A factor of each entry that a product makes, with axes of one else: divided by it, the weights of one summed
    index are more nearly of one size. Half of what would make them so, in logarithms, which leaves least error in all.
    """
    made, summed = axes.made + leading, axes.summed + leading
    square = np.square(array.astype(np.float64))
    for axis in (summed, made):
        shared = tuple({*range(leading, array.ndim)} - {axis})
        size = square.mean(axis=shared, keepdims=True)
        square = square / np.where(size > 0, size, 1)
    size = np.sqrt(np.where(size > 0, size, 1))
    return np.asarray(np.sqrt(size / np.exp(np.log(size).mean(axis=made, keepdims=True))), np.float16)


def line_of(length: int) -> int:
    """How many of so many entries share a step: the most that divides them, up to LINE, or all."""
    fits = max(one for one in range(1, min(length, LINE) + 1) if length % one == 0)
    return fits if fits >= SHORTEST else length


@dataclass(frozen=True, eq=False)
class _Way:
    """From weights in half precision to the product that reads them: chosen by the target or not, then cast."""

    chosen: NodeProto | None
    cast: NodeProto
    product: NodeProto
    axes: Axes

    @classmethod
    def of(cls, stored: TensorProto, readers: Readers) -> _Way | None:
        """None where weights are not in half precision, or others than one product read them."""
        if stored.data_type != TensorProto.FLOAT16:
            return None
        node, slot, path = *_only(readers, stored.name), list[NodeProto]()
        while node is not None and node.op_type in ("Gather", "Cast", "Mul") and slot == 0:
            path.append(node)
            node, slot = _only(readers, node.output[0])
        kinds = [one.op_type for one in path]
        chosen = path[0] if kinds[:1] == ["Gather"] else None
        rank = len(stored.dims) - (chosen is not None)
        axes = None if node is None else axes_of(node, slot, rank)
        if node is None or axes is None or kinds[chosen is not None :] not in (["Cast"], ["Cast", "Mul"]):
            return None
        return cls(chosen, path[chosen is not None], node, axes)

    def narrowed(self, document: Document, array: npt.NDArray[Any], *, inner: bool) -> list[TensorProto]:
        """What is stored in place of the array; the nodes that read it are changed. None where that is no smaller.

        inner: whether another product reads what is made.
        """
        leading = int(self.chosen is not None)
        if array.shape[leading + self.axes.summed] < SHORTEST:
            # Errors of a sum of few terms do not cancel.
            return []
        factors = factors_of(array, self.axes, leading) if inner else None
        even = array if factors is None else array.astype(np.float64) / factors
        numbers, steps = stepped(even, self.axes, leading)
        if numbers.nbytes + steps.nbytes >= array.nbytes or not np.isfinite(steps).all():
            return []
        graph, result = document.model.graph, self.cast.output[0]
        shape, apart = array.shape[leading:], numbers.shape[leading:]
        nodes, wide, stored = list[NodeProto](), list[str](), list[TensorProto]()
        parts = [("numbers", numbers), ("steps", steps), *([("factors", factors)] if factors is not None else [])]
        for what, part in parts:
            name = document.fresh(f"{result}/{what}")
            stored.append(numpy_helper.from_array(np.ascontiguousarray(part), name))
            if self.chosen is not None:
                picked = document.fresh(f"{result}/{what} chosen")
                nodes.append(helper.make_node("Gather", [name, self.chosen.input[1]], [picked], name=picked, axis=0))
                name = picked
            wide.append(document.fresh(f"{result}/{what} wide"))
            nodes.append(helper.make_node("Cast", [name], wide[-1:], name=wide[-1], to=document.element))
        times = document.fresh(f"{result}/in lines")
        nodes.append(helper.make_node("Mul", wide[:2], [times], name=times))
        whole = document.constant(f"{result}/shape", np.array(shape, np.int64))
        even_out = result if factors is None else document.fresh(f"{result}/even")
        nodes.append(helper.make_node("Reshape", [times, whole], [even_out], name=even_out))
        if factors is not None:
            nodes.append(helper.make_node("Mul", [even_out, wide[2]], [result], name=result))
        assert len(apart) == len(shape) + 1
        place = list(graph.node).index(self.cast)
        del graph.node[place]
        for number, node in enumerate(nodes):
            graph.node.insert(place + number, node)
        if self.chosen is not None:
            graph.node.remove(self.chosen)
        return stored


def axes_of(node: NodeProto, slot: int, rank: int) -> Axes | None:
    """The axes of an operand that a product takes, which has `rank` of them; None where it is no product's weights."""
    turned = any(one.name == "transB" and one.i for one in node.attribute)
    second = {
        "Gemm": Axes(1, 0) if turned else Axes(0, 1),
        "MatMul": Axes(rank - 2, rank - 1),
        "Conv": Axes(1, 0),
        "ConvTranspose": Axes(0, 1),
    }
    if rank < 2:
        return None
    if slot == 1:
        return second.get(node.op_type)
    return Axes(rank - 1, rank - 2) if slot == 0 and node.op_type == "MatMul" else None


def _only(readers: Readers, name: str) -> tuple[NodeProto | None, int]:
    """The one node that reads a tensor, and as which of its inputs; None where there is none or are several."""
    reads = readers.get(name, ())
    return reads[0] if len(reads) == 1 else (None, 0)


def _products(readers: Readers, stored: TensorProto) -> bool:
    """Whether products alone read a constant."""
    reads = readers.get(stored.name, ())
    return bool(reads) and all(axes_of(node, slot, len(stored.dims)) is not None for node, slot in reads)


def _read_by_products(nodes: Sequence[NodeProto]) -> set[str]:
    """The tensors that a product reads, or that something is made of which a product reads."""
    reads = set[str]()
    for node in reversed(nodes):
        if node.op_type in PRODUCTS or not reads.isdisjoint(node.output):
            reads.update(node.input)
    return reads
