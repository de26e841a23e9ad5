"""The result of every attribution method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Attribution:
    """Source signal and attribution of one target for N samples, as NumPy arrays.

    value: [N, ...] the explained tensor X itself, the input or the tensor `at`;
    source: [N, ...] the source signal S (paper, Algorithm 1), in the units of X;
    attribution: [N, ...] the attribution A, the target logit pushed through the linear parts of the inverses;
    output: [N] the target logit y_c; target: its index;
    tensor: the ONNX name of the explained tensor;
    channel_axis: the axis of X, counted with the batch, that holds channels; None where X has none.
    """

    value: Floats
    source: Floats
    attribution: Floats
    output: Floats
    target: int
    tensor: str
    channel_axis: int | None

    def __len__(self) -> int:
        return len(self.output)

    def __getitem__(self, rows: slice) -> Attribution:
        """The same for some of the samples."""
        arrays = {name: getattr(self, name)[rows] for name in ("value", "source", "attribution", "output")}
        return replace(self, **arrays)

    @property
    def distractor(self) -> Floats:
        """X - S [N, ...]: the part of the value without information on the target."""
        return self.value - self.source

    @property
    def contribution(self) -> Floats:
        """A * X [N, ...]: the attribution times the value it falls on."""
        return self.attribution * self.value
