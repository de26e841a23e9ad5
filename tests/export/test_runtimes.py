"""Explainers in other runtimes: whoever computes a network rightly computes its explainer rightly."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import mipin_ref as mr
from tests.export import openvino
from tests.export.golden import fitted
from tests.export.running import Array, assert_exact, assert_like, expected
from tests.export.test_golden_cases import LOOSE
from tests.golden.arrays import NAMES, PATHS

SAMPLES = 3


def reference(path: Path, x: Array) -> dict[str, Array]:
    model = ReferenceEvaluator(str(path))
    return dict(zip(model.output_names, model.run(None, {model.input_names[0]: x}), strict=True))


def opencv(path: Path, x: Array) -> dict[str, Array]:
    model, told = cv2.dnn.readNetFromONNX(str(path)), onnx.load(path)
    model.setInput(x, told.graph.input[0].name)
    names = [one.name for one in told.graph.output]
    return dict(zip(names, model.forward(names), strict=True))


RUNTIMES = {"reference": reference, "opencv": opencv, "openvino": openvino.run}
WRONG = {
    "reference": {
        *("golden_frontier", "golden_lengths", "golden_norms", "golden_recurrent_functions", "golden_resize"),
        "golden_transposed",
    },
    "opencv": {
        *("golden_gates", "golden_lengths", "golden_lstm", "golden_mean_ceil", "golden_peepholes"),
        *("golden_recurrent_functions", "golden_resize"),
    },
    "openvino": {
        *("golden_lengths", "golden_mean_ceil", "golden_norms", "golden_peepholes", "golden_recurrent_functions"),
    },
}
"""Networks that a runtime refuses, or computes otherwise than onnxruntime, before anything is explained."""
if tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 23):
    # The reference of older ones knows one direction alone.
    WRONG["reference"] |= {"golden_gru", "golden_lstm", "golden_peepholes"}
REFUSED = {("opencv", "golden_gru"): "transpose_layer", ("openvino", "golden_resize"): "any_of.scale.size"}
"""Explainers that a runtime refuses though it computes the network, and what it says: OpenCV makes the steps of a GRU,
which the way back reads, of another shape than ONNX says; OpenVINO takes a factor per channel behind a product with a
constant matrix for one per column.
"""


def computes(runtime: str, name: str, x: npt.NDArray[np.float32]) -> bool:
    """Whether a runtime computes the network itself as onnxruntime does."""
    path = PATHS[name].parent / "model.onnx"
    session = onnxruntime.InferenceSession(path)
    wanted = session.run(None, {session.get_inputs()[0].name: x})[0]
    try:
        found = RUNTIMES[runtime](path, x)[session.get_outputs()[0].name]
    except (cv2.error, ValueError, NotImplementedError, RuntimeError):
        return False
    return bool(np.max(np.abs(found.reshape(wanted.shape) - wanted)) < 1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", NAMES)
def test_an_explainer_runs_where_its_network_does(name: str, runtime: str, tmp_path: Path) -> None:
    inverse, samples = fitted(name)
    x = samples[:SAMPLES]
    if name in WRONG[runtime]:
        assert not computes(runtime, name, x)
        return
    path = tmp_path / "explainer.onnx"
    mr.export(inverse, path, check=samples)
    wanted = expected(inverse, x)
    if (says := REFUSED.get((runtime, name))) is not None:
        with pytest.raises((cv2.error, RuntimeError), match=says):
            RUNTIMES[runtime](path, x)
        return
    found = {
        key: value.reshape(wanted[key].shape) for key, value in RUNTIMES[runtime](path, x).items() if key in wanted
    }
    if name in LOOSE:
        assert_exact(found | {"logits": x}, wanted, LOOSE[name])
    else:
        assert_like(found, wanted)
