"""What a fit is to do, as one object: the fitter, a checkpoint's identity and the inverses are made of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Backend
from mipin_ref.data import Samples
from mipin_ref.graph.network import Network
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.plan import Plan


@dataclass(frozen=True, eq=False)
class FitTask:
    """What is fitted: `plan` of `net`, on `data`, as `options` say.

    backend: where, in options.dtype; labels: [N] or None; memory: bytes that the passes may hold; batch_size: samples,
    None for as many as the memory allows.
    """

    net: Network
    plan: Plan
    options: Options
    backend: Backend
    data: Samples
    labels: npt.NDArray[np.int64] | None
    memory: int
    batch_size: int | None

    def in_double(self) -> FitTask:
        """The same in double precision."""
        return replace(self, backend=self.backend.in_double(), options=replace(self.options, dtype="float64"))
