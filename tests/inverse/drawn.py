"""Fits of random networks of every kind, for what is compared with their inverses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import mipin_ref as mr
from tests.networks import Network, sample_inputs, to_onnx

SAMPLES = 10


def drawn_fit(network: Network, seed: int) -> tuple[mr.Inverse, npt.NDArray[np.float32]] | None:
    """An inverse, with options by the seed, and the samples that it was fitted on in single precision; None where the
    logit never varies.
    """
    x = sample_inputs(network.input_shape, SAMPLES, seed).astype(np.float32)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    target = seed % 3
    if np.ptp(net.predict(x)[1][:, target]) < 1e-4:
        return None
    options: dict[str, Any] = {"ridge": 1.0, "norm": ("affine", "sigma")[seed % 2], "conv_bias": seed % 3 == 0}
    return mr.fit(net, x, target, local=seed % 5 > 0, input_mask=(None, True)[seed % 4 == 0], **options), x
