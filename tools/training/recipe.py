"""What every network for boxed clutter states of itself, and the convolution that most are built of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from training.clutter import CLASS_NAMES

CLASSES = len(CLASS_NAMES)


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> Any:
    """A padded convolution without bias: the batch norm after it has one."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Recipe(NamedTuple):
    """One network: how it is built, whether its file has batch norms folded in, what its card says, and whether it is
    trained on scenes of two objects.
    """

    build: Callable[[], Any]
    fold: bool
    architecture: list[str]
    pairs: bool = False
