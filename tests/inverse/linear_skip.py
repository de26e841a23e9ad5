"""A residual block without activation, whose two regressors are nearly one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import mipin_ref as mr
from tests.networks import to_onnx
from tests.oracles.spec import Add, Conv, Dense, GlobalAveragePool, Op, Reshape


def linear_skip() -> tuple[mr.Network, npt.NDArray[np.float32]]:
    """The network, and samples in single precision: rounding divides the weights of 'conv' and the skip at 'stem'."""
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "stem", rng.standard_normal((4, 2, 3, 3))),
        Conv(("stem",), "conv", rng.standard_normal((4, 4, 1, 1)) / 2),
        Add(("conv", "stem"), "sum"),
        GlobalAveragePool(("sum",), "mean"),
        Reshape(("mean",), "flat", (4,)),
        Dense(("flat",), "scores", rng.standard_normal((4, 3))),
    ]
    return mr.load(to_onnx(ops, (2, 8, 8))), rng.standard_normal((30, 2, 8, 8)).astype(np.float32)
