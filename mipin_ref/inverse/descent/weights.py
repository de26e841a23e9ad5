"""The fitted inverse of one tensor: on the host in double precision, on the device as it computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.display import OneLine


@dataclass(frozen=True, eq=False)
class Weights(OneLine):
    """The fitted inverse of one tensor, float64 NumPy.

    blocks: one array a branch, in the order of the step's: Dense [in, out] (X̂ = W S + b, Eq. 6; one column for the
    layer that holds the target), Conv [o, m / groups, *kernel] (Eq. 7), any other [C], one weight a channel;
    intercept: [C] or None. C is the tensor's axis of channels (see Step), its features where it has no other axis.
    """

    blocks: tuple[npt.NDArray[np.float64], ...]
    intercept: npt.NDArray[np.float64] | None

    @property
    def unknowns(self) -> int:
        return sum(block.size for block in self.blocks) + (0 if self.intercept is None else self.intercept.size)


@dataclass(frozen=True, eq=False)
class DeviceWeights(OneLine):
    """Weights on the device, in the compute dtype; bytes: of all of them."""

    blocks: tuple[Array, ...]
    intercept: Array | None
    bytes: int

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.bytes

    @classmethod
    def of(cls, backend: Backend, weights: Weights) -> DeviceWeights:
        intercept = None if weights.intercept is None else backend.put(weights.intercept)
        return cls(
            tuple(backend.put(block) for block in weights.blocks), intercept, backend.itemsize * weights.unknowns
        )
