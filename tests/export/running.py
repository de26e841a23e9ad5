"""Explainers run by onnxruntime itself, and how far their outputs are from this package's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

import mipin_ref as mr

Array = npt.NDArray[Any]

EXACT = 1e-5
"""Largest difference without optimisation, as a share of the largest value: 84 eps of single precision, in which the
file computes what this package computed in double precision."""
WITHIN, SHARE, CORRELATION = 1e-4, 0.99, 0.9999
"""With optimisation sums round another way, and masks flip where a value is next to zero: then a share of the entries
is that near, and all are correlated."""


def outputs(path: Path, feed: dict[str, Array], *, optimised: bool = False) -> dict[str, Array]:
    """The outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def expected(inverse: mr.Inverse, x: Any, at: str | None = None) -> dict[str, Array]:
    """What this package says, by output; the map where the tensor is an image."""
    res = inverse.attribute(x, at=at)
    found = {
        "logit": res.output,
        "source": res.source,
        "attribution": res.attribution,
        "contribution": res.attribution * res.value,
    }
    axes = res.value.ndim - (res.channel_axis is not None)
    if axes == 3 or res.places is not None:
        found["map"] = mr.saliency(res, size="input" if res.input_size else None)
    return found


def error(found: Array, wanted: Array) -> float:
    """The largest difference as a share of the largest value."""
    assert found.shape == wanted.shape
    return float(np.max(np.abs(found - wanted)) / max(float(np.max(np.abs(wanted))), 1e-30))


def assert_exact(found: dict[str, Array], wanted: dict[str, Array], tolerance: float = EXACT) -> None:
    assert {*found} == {*wanted, "logits"}
    for name, value in wanted.items():
        assert error(found[name], value) <= tolerance, name


def assert_like(found: dict[str, Array], wanted: dict[str, Array], *, flipped: int = 0) -> None:
    """What optimisation and other runtimes leave of it; flipped: samples of which no share of entries is asked."""
    for name, value in wanted.items():
        largest = max(float(np.max(np.abs(value))), 1e-30)
        near = (np.abs(found[name] - value) <= WITHIN * largest).reshape(len(value), -1).mean(axis=1)
        assert np.mean(np.sort(near)[flipped:]) >= SHARE, name
        a, b = found[name].astype(np.float64).ravel(), value.astype(np.float64).ravel()
        norms = float(np.linalg.norm(a) * np.linalg.norm(b))
        assert norms == 0 or a @ b >= CORRELATION * norms, name
