"""What stands in front of the layers: the part of the file that has no inverse, run by onnxruntime as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
from onnx import ModelProto, numpy_helper

from mipin_ref.display import OneLine
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.embeddings import rows_of
from mipin_ref.graph.free import free_batch
from mipin_ref.graph.layout import Layout
from mipin_ref.graph.measure import Measured
from mipin_ref.graph.node import node_of
from mipin_ref.graph.prune import pruned, read_by

WIDEST = 8
"""Bytes of the widest numbers."""


@dataclass(frozen=True, eq=False)
class Stem(OneLine):
    """A part of a file. model: as ONNX; bound: its inputs; tensors: that it makes, and how each holds its samples;
    apart: how many samples each run has, where it can be run on no other number, else None; work: of a sample, in
    multiply-adds; names: of the tensors in the model, where they are others; room: bytes that a sample takes in it, at
    most.
    """

    model: bytes
    bound: Bound
    tensors: Mapping[str, Layout]
    apart: int | None
    work: int
    names: Mapping[str, str] = field(default_factory=dict)
    room: int = 0

    @cached_property
    def operators(self) -> Counter[str]:
        """How many nodes there are of each operator, constants left out."""
        nodes = map(node_of, ModelProto.FromString(self.model).graph.node)
        return Counter(node.qualified for node in nodes if node.op != "Constant")

    @cached_property
    def spoilt(self) -> str | None:
        """The name of the first constant that holds NaN."""
        for one in ModelProto.FromString(self.model).graph.initializer:
            values = numpy_helper.to_array(one)
            # bfloat16 and the like are no kind of NumPy's own.
            if values.dtype.kind in "fV" and np.isnan(values.astype(np.float64)).any():
                return str(one.name)
        return None

    @cached_property
    def rows(self) -> int | None:
        """How many rows the table has that the explained input looks up, the smallest of several; None where none."""
        return rows_of(ModelProto.FromString(self.model), self.bound.data)


def stem_of(
    proto: ModelProto,
    bound: Bound,
    tensors: Mapping[str, Layout],
    apart: int | None,
    work: int,
    measure: Callable[[str], Measured | None],
) -> Stem:
    """The part of a model that makes some of its tensors. measure: tells what they look like."""
    small = ModelProto()
    small.CopyFrom(pruned(proto, *tensors))
    free_batch(small, bound)
    room = _room(small, bound, tensors, measure) if tensors else 0
    return Stem(small.SerializeToString(), bound, dict(tensors), apart, work, room=room)


def _room(proto: ModelProto, bound: Bound, kept: Collection[str], measure: Callable[[str], Measured | None]) -> int:
    """Bytes of a sample's tensors that are held at once, at most, as nodes run one after another; of a tensor of an
    unknown size those of the input.
    """
    last = {name: place for place, node in enumerate(proto.graph.node) for name in read_by(node)}
    one = WIDEST * prod(bound.shape)
    held, most = {bound.data: one}, one
    for place, node in enumerate(proto.graph.node):
        for name in filter(None, node.output):
            known = measure(name)
            held[name] = one if known is None else WIDEST * prod(known.sample)
        most = max(most, sum(held.values()))
        for name in [name for name in held if last.get(name, -1) <= place and name not in kept]:
            del held[name]
    return most
