"""Weights as the named tensors of a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mipin_ref.errors import CorruptFile
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.plan import Step, block_shapes
from mipin_ref.layers import HostArray


def weight_tensors(prefix: str, weights: Weights) -> dict[str, HostArray]:
    """The blocks by number, and the intercept, each behind the prefix and a point."""
    tensors: dict[str, HostArray] = {f"{prefix}.{i}": block for i, block in enumerate(weights.blocks)}
    if weights.intercept is not None:
        tensors[f"{prefix}.intercept"] = weights.intercept
    return tensors


def read_weights(path: Path, tensors: Mapping[str, HostArray], prefix: str, step: Step, *, column: bool) -> Weights:
    """The weights of a step from what `weight_tensors` made of them; column: as `block_shapes` has it.

    Raises CorruptFile, naming `path`, where shapes or dtypes are not the step's or values are not finite, KeyError
    where a block is missing.
    """
    shapes = block_shapes(step, column=column)
    blocks, intercept = [tensors[f"{prefix}.{i}"] for i in range(len(shapes))], tensors.get(f"{prefix}.intercept")
    given = [*blocks, *([] if intercept is None else [intercept])]
    fits = [a.shape for a in given] == [*shapes, *([(step.channels,)] if step.intercept else [])]
    if not fits or not all(a.dtype == np.float64 and np.all(np.isfinite(a)) for a in given):
        raise CorruptFile(f"{str(path)!r} holds no finite weights of shapes {shapes} for tensor {step.tensor!r}")
    return Weights(tuple(blocks), intercept)
