"""The golden cases as fitted inverses, by the weights that they hold."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import mipin_ref as mr
from tests.golden.arrays import PATHS, read

OPTIONS = ("ridge", "conv_bias", "at", "input_mask", "local", "fit_on", "norm")


@cache
def fitted(name: str, dtype: str = "float64") -> tuple[mr.Inverse, np.ndarray[Any, Any]]:
    """The inverse of a case fitted anew, and its samples, as the network takes them."""
    case = read(name)
    manifest = case.manifest
    net = mr.load(PATHS[name].parent / "model.onnx", output=manifest["model"]["output"])
    x = np.asarray(case.arrays["x"])
    x = x if net.whole else x.astype(np.float32)
    labels = case.arrays.get("labels")
    options = {key: value for key, value in manifest["options"].items() if key in OPTIONS}
    target = manifest["options"]["target"]
    target = net.target(target) if isinstance(target, int) else tuple(target)
    return mr.fit(net, x, target, labels=labels, dtype=dtype, **options), x
