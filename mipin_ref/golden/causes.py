"""The likely cause of a deviation, where its signature is known: what the golden values become by a known mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mipin_ref.errors import MipinError
from mipin_ref.golden.case import Case, Tensor
from mipin_ref.golden.reread import reread
from mipin_ref.golden.stages import STAGE_OF
from mipin_ref.golden.stages.stage import Deviation
from mipin_ref.golden.values import Golden
from mipin_ref.graph.load import load
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray, Layer
from mipin_ref.reading import decoding

CLOSER = 1e-2
"""A mistake explains a deviation when it leaves at most this part of it."""


@dataclass(frozen=True, eq=False)
class Causes:
    """The causes of what is off in one candidate of a case, and the evidence that stages ask for.

    arrays: the candidate's, by name.
    """

    case: Case
    arrays: Mapping[str, HostArray]

    def likely(self, tensor: Tensor, bound: float) -> str | None:
        """The mistake by which the golden values of a tensor come nearest to the candidate's; None where none does."""
        value = self.arrays[tensor.name].astype(np.float64)
        golden = self.case.golden(tensor).astype(np.float64)
        if _single(self.arrays[tensor.name], golden):
            return "the values are float32 in a float64 array: say so by dtype"
        nearest, left = None, max(bound, CLOSER * float(np.max(np.abs(value - golden))))
        deviation = Deviation(tensor.name, tensor.tensor, golden, value)
        for cause, by in STAGE_OF[tensor.stage].causes(deviation, self):
            try:
                with np.errstate(all="ignore"):
                    mistaken = by()
            except (MipinError, ValueError, IndexError):
                continue  # this mistake has no meaning for this tensor
            apart = float(np.max(np.abs(mistaken - value), initial=0.0)) if mistaken.shape == value.shape else np.inf
            if apart < left:
                nearest, left = cause, apart
        return nearest

    @cached_property
    def network(self) -> Network | None:
        """None where the ONNX file is not there: causes that need it stay unknown."""
        output = str(self.case.manifest["model"]["output"])
        return load(self.case.model, output=output, check=False) if self.case.model.is_file() else None

    @cached_property
    def golden(self) -> Golden:
        assert self.network is not None
        # The arrays are as the manifest says, but it may not say what this network has.
        with decoding(self.case.folder, f"a case of the network {self.case.model.name}"):
            return reread(self.case, self.network)

    def value(self, tensor: str) -> HostArray:
        with decoding(self.case.folder, f"a case of the network {self.case.model.name}"):
            return self.case.arrays[self.case.array_names[f"forward/value/{tensor}"]]

    def layer(self, output: str) -> Layer:
        with decoding(self.case.folder, f"a case of the network {self.case.model.name}"):
            return next(layer for layer in self.golden.material.net.layers if layer.output == output)


def _single(value: HostArray, golden: HostArray) -> bool:
    """Whether a float64 array holds float32 values that are off by single-precision rounding."""
    if value.dtype.itemsize < 8 or not np.array_equal(value, value.astype(np.float32)):
        return False
    return bool(np.max(np.abs(value - golden)) <= 1e-3 * np.max(np.abs(golden)))
