"""Shapes behind nodes that have no inverse: measured, by running the file on batches of two sizes.

In a process of its own (see measuring.py): some files end the one that they are run in.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from mipin_ref.graph import measuring
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.free import free_batch
from mipin_ref.graph.limits import TENSOR
from mipin_ref.graph.plausible import plausible
from mipin_ref.graph.runtime import runtime_reason
from mipin_ref.layers import Shape

SIZES = (2, 3)
"""Batches: the axis that grows with them is the one of the samples."""

SECONDS = 120.0
"""What these runs may take: a loop in a file may have no end."""


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
        return self._found[0].get(name)

    @property
    def known(self) -> bool:
        """Whether the file could be run."""
        return bool(self._found[0])

    @property
    def failure(self) -> str | None:
        """What onnxruntime says of why no run of the file came to its end; None where it said nothing."""
        told = self._told
        return None if self.known or told is None or told["failure"] is None else runtime_reason(told["failure"])

    @property
    def elements(self) -> int:
        """Elements of all tensors of a sample whose axis of samples can be told."""
        return sum(prod(one.sample) for one in self._found[0].values())

    @property
    def apart(self) -> int | None:
        """How many samples each run must have, where the file can be run on no other number; else None."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[dict[str, Measured], int | None]:
        told = self._told
        if told is None:
            return {}, None
        known = _known(told, SIZES)
        alone = self._bound.file_batch or 1
        if not known or (self._bound.file_batch is not None and self._proto.graph.output[0].name not in known):
            # Of other lengths the file cannot be run, or no output has as many samples as it was given.
            known = _known(told, (alone,)) or known
            return known, alone if known else None
        return known, None

    @cached_property
    def _told(self) -> dict[str, Any] | None:
        """What the program in measuring.py tells; None where it does not live to tell."""
        names = [name for node in self._proto.graph.node for name in node.output if name]
        open_ = ModelProto()
        open_.CopyFrom(self._proto)
        free_batch(open_, self._bound)
        with TemporaryDirectory() as place:
            folder = Path(place)
            try:
                (folder / "model.onnx").write_bytes(open_.SerializeToString())
            except (ValueError, EncodeError):  # with its weights inside it is larger than a file can be
                return None
            (folder / "names.json").write_text(json.dumps(names))
            (folder / "inputs.json").write_text(json.dumps([*self._bound.feed(plausible(self._bound, 1, seed=0))]))
            batch = self._bound.file_batch or 1
            # No memory is taken for a batch that is only written down.
            for size in {*SIZES, *([batch] if batch * prod(self._bound.shape) <= TENSOR else [])}:
                feed = self._bound.feed(plausible(self._bound, size, seed=0))
                # By position: a name can be anything, also what savez calls its own arguments.
                np.savez(folder / f"{size}.npz", *feed.values())
            try:
                subprocess.run(
                    [sys.executable, str(Path(measuring.__file__)), str(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=SECONDS,
                    check=False,
                )
                made: dict[str, Any] = json.loads((folder / "told.json").read_text())
            except (OSError, ValueError, subprocess.SubprocessError):
                return None
        return made


def _known(told: Mapping[str, Any], sizes: Sequence[int]) -> dict[str, Measured]:
    """The tensors whose axis of samples can be told from runs of these sizes; none where one of them failed."""
    runs = [told["runs"].get(str(size)) for size in sizes]
    if any(run is None for run in runs):
        return {}
    known = {}
    for name, floating, *made in zip(told["names"], told["floating"], *runs, strict=True):
        shapes = [tuple(shape) for shape in made]
        axis = _axis(shapes, sizes)
        if axis is not None:
            known[name] = Measured(shapes[0][:axis] + shapes[0][axis + 1 :], axis, bool(floating))
    return known


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
