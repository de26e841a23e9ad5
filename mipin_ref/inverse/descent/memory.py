"""What a descent holds, roughly: for each sample, and however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from mipin_ref.backend import Backend
from mipin_ref.inverse.plan import Step
from mipin_ref.layers import Shared


def sample_bytes(steps: Sequence[Step], fetched: Sequence[tuple[int, ...]], itemsize: int, *, signals: int = 1) -> int:
    """Rough memory that one sample needs on its way forward and, with so many signals, back through `steps`."""
    layers = [layer for step in steps for layer in step.layers]
    widest = max((prod(layer.in_shape) + prod(layer.out_shape) for layer in layers), default=1)
    held = sum(prod(shape) for shape in fetched)
    return int(8 * widest + (4 + itemsize) * held + itemsize * 2 * widest * (1 + signals))


def workspace_bytes(backend: Backend, steps: Sequence[Step]) -> int:
    """Rough memory that the way back needs besides, however many the samples."""
    layers = (layer for step in steps for layer in step.layers)
    return max((layer.workspace_bytes(backend) for layer in layers if isinstance(layer, Shared)), default=0)
