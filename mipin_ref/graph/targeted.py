"""What can be explained of a network: the entries of a sample of its output, and how a user names one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mipin_ref.errors import InvalidData, shown
from mipin_ref.layers import Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Targeted:
    """The targets of a network.

    output: the one explained; target_shape: of a sample of it, which a target is an index into, a tuple where several
    axes are longer than one; axes of length one beside the classes are taken off, and an output [N] has the class 0.
    """

    output: str
    target_shape: Shape

    @property
    def classes(self) -> int:
        """How many targets there are: entries of a sample of the output."""
        return prod(self.target_shape)

    def check_target(self, target: object) -> int:
        """The target as an index into logits [N, classes]. target: a class; where the output has more axes, a tuple.

        Raises InvalidData where it is neither, or out of range.
        """
        shape = self.target_shape
        indices = target if isinstance(target, tuple) else (target,)
        if len(indices) == 1:
            # Axes of length one beside the classes need no index.
            shape = (self.classes,) if max(shape, default=1) == self.classes else shape
        if any(isinstance(one, bool | np.bool_) or not isinstance(one, int | np.integer) for one in indices):
            what = "an integer class index" if len(shape) == 1 else f"a tuple of {len(shape)} integers"
            raise InvalidData(f"target must be {what}, not {shown(target)}")
        if len(indices) != len(shape):
            raise InvalidData(
                f"target {shown(target)} has {len(indices)} indices; output {self.output!r} [N, {dims(shape)}] needs "
                f"{len(shape)}"
            )
        if any(not 0 <= one < size for one, size in zip(indices, shape, strict=True)):
            if self.classes == 1:
                raise InvalidData(
                    f"target {shown(self._plain(indices))} is out of range: output {self.output!r} is one number, "
                    "which has the one target 0; of a probability, what speaks for 0 speaks for class 1, and what "
                    "speaks against it for class 0"
                )
            ranges = ", ".join(f"0..{size - 1}" for size in shape)
            raise InvalidData(
                f"target {shown(self._plain(indices))} is out of range: output {self.output!r} has "
                f"{'classes' if len(shape) == 1 else 'indices'} {ranges}"
            )
        return int(np.ravel_multi_index(tuple(int(one) for one in indices), shape))

    def known_index(self, index: object) -> int:
        """An index into logits [N, classes], as saved. Raises InvalidData where it is none."""
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < self.classes:
            raise InvalidData(f"{shown(index)} is no index into {self.classes} logits")
        return index

    def target(self, index: int) -> int | tuple[int, ...]:
        """The target that `check_target` took for an index into logits [N, classes], as short as it can be told."""
        if max(self.target_shape, default=1) == self.classes:
            return index
        return self._plain(np.unravel_index(index, self.target_shape))

    @staticmethod
    def _plain(indices: Sequence[Any]) -> int | tuple[int, ...]:
        whole = tuple(int(one) for one in indices)
        return whole[0] if len(whole) == 1 else whole


def dims(shape: Shape) -> str:
    """A shape as a line shows it."""
    return "×".join(map(str, shape)) or "scalar"
