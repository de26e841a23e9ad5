"""What stands in front of the layers: the part of the file that has no inverse, run by onnxruntime as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from onnx import ModelProto

from mipin_ref.display import OneLine
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.free import free_batch
from mipin_ref.graph.layout import Layout
from mipin_ref.graph.node import node_of
from mipin_ref.graph.prune import pruned


@dataclass(frozen=True, eq=False)
class Stem(OneLine):
    """A part of a file. model: as ONNX; bound: its inputs; tensors: that it makes, and how each holds its samples;
    apart: how many samples each run has, where it can be run on no other number, else None; work: of a sample, in
    multiply-adds; names: of the tensors in the model, where they are others.
    """

    model: bytes
    bound: Bound
    tensors: Mapping[str, Layout]
    apart: int | None
    work: int
    names: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def operators(self) -> Counter[str]:
        """How many nodes there are of each operator, constants left out."""
        nodes = map(node_of, ModelProto.FromString(self.model).graph.node)
        return Counter(node.qualified for node in nodes if node.op != "Constant")


def stem_of(proto: ModelProto, bound: Bound, tensors: Mapping[str, Layout], apart: int | None, work: int) -> Stem:
    """The part of a model that makes some of its tensors."""
    small = ModelProto()
    small.CopyFrom(pruned(proto, *tensors))
    free_batch(small, bound)
    return Stem(small.SerializeToString(), bound, dict(tensors), apart, work)
