"""Shapes behind nodes that have no inverse: measured, by running the file on batches of two sizes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from onnx import ModelProto, helper
from onnxruntime import InferenceSession

from mipin_ref.errors import MipinError, UnsupportedModel
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.free import free_batch
from mipin_ref.graph.limited import run
from mipin_ref.graph.runtime import session
from mipin_ref.layers import HostArray, Shape

SIZES = (2, 3)
"""Batches: the axis that grows with them is the one of the samples."""


@dataclass(frozen=True)
class Measured:
    """A tensor of the file. sample: shape without the axis of the samples; floating: whether it holds such numbers."""

    sample: Shape
    axis: int
    floating: bool


class Measure:
    """What the tensors of a model look like, found when it is first asked."""

    def __init__(self, proto: ModelProto, bound: Bound) -> None:
        self._proto, self._bound = proto, bound

    def __call__(self, name: str) -> Measured | None:
        """None for a tensor whose axis of samples cannot be told: it has none, several, or the file cannot be run."""
        return self._known.get(name)

    @cached_property
    def apart(self) -> int | None:
        """How many samples each run must have, where the file can be run on no other number; else None."""
        return self._runs[1] if self._known else None

    @cached_property
    def _runs(self) -> tuple[list[dict[str, Shape]], int | None, dict[str, bool]]:
        names, floating = _tensors(self._proto, self._bound)
        small = _with_shapes(self._proto, self._bound, names)
        runtime = session(small.SerializeToString())
        try:
            return [self._shapes(runtime, names, size) for size in SIZES], None, floating
        except Exception:  # whatever onnxruntime raises of a batch that the file does not have
            size = self._bound.file_batch or 1
            return [self._shapes(runtime, names, size)], size, floating

    @cached_property
    def _known(self) -> dict[str, Measured]:
        try:
            runs, apart, floating = self._runs
        except MipinError:
            return {}
        except Exception:  # the file cannot be run at all, of which the self-check will tell
            return {}
        sizes = SIZES if apart is None else (apart,)
        found = {}
        for name in runs[0]:
            axis = _axis([one[name] for one in runs], sizes)
            if axis is not None:
                shape = runs[0][name]
                found[name] = Measured(shape[:axis] + shape[axis + 1 :], axis, floating[name])
        return found

    def _shapes(self, runtime: InferenceSession, names: Sequence[str], size: int) -> dict[str, Shape]:
        x = plausible(self._bound, size, seed=0)
        told = run(runtime, [f"{name}:shape" for name in names], self._bound.feed(x))
        return {name: tuple(int(d) for d in one) for name, one in zip(names, told, strict=True)}


def plausible(bound: Bound, samples: int, seed: int) -> HostArray:
    """Inputs [n, *shape] in a range that a network may be made for: normal numbers, or small integers."""
    random = np.random.default_rng(seed)
    if bound.whole:
        return random.integers(0, 8, (samples, *bound.shape)).astype(bound.dtype)
    return random.standard_normal((samples, *bound.shape), np.float32).astype(bound.dtype)


def _axis(shapes: Sequence[Shape], sizes: Sequence[int]) -> int | None:
    """The one axis that is as long as the batch in every run, and alone changes."""
    rank = len(shapes[0])
    if any(len(shape) != rank for shape in shapes):
        return None
    if len(shapes) == 1:
        return next((axis for axis in range(rank) if shapes[0][axis] == sizes[0]), None)
    changing = [axis for axis in range(rank) if len({shape[axis] for shape in shapes}) > 1]
    if len(changing) != 1 or [shape[changing[0]] for shape in shapes] != list(sizes):
        return None
    return changing[0]


def _tensors(proto: ModelProto, bound: Bound) -> tuple[list[str], dict[str, bool]]:
    """The tensors that the nodes make, and whether each holds floating-point numbers."""
    names = [name for node in proto.graph.node for name in node.output if name]
    small = ModelProto()
    small.CopyFrom(proto)
    free_batch(small, bound)
    _offer(small, names)
    floating = {}
    for value in session(small.SerializeToString()).get_outputs():
        if value.type.startswith("tensor("):
            floating[value.name] = value.type in ("tensor(float)", "tensor(double)", "tensor(float16)")
    return [name for name in names if name in floating], floating


def _with_shapes(proto: ModelProto, bound: Bound, names: Collection[str]) -> ModelProto:
    small = ModelProto()
    small.CopyFrom(proto)
    free_batch(small, bound)
    small.graph.node.extend(helper.make_node("Shape", [name], [f"{name}:shape"]) for name in names)
    del small.graph.output[:]
    small.graph.output.extend(helper.make_empty_tensor_value_info(f"{name}:shape") for name in names)
    return small


def _offer(proto: ModelProto, names: Collection[str]) -> None:
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    if not names:
        raise UnsupportedModel("the file has no nodes")
