"""Explainers of the networks that come with the package, at the pixels and at the last map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from tests.export import openvino
from tests.export.running import assert_exact, assert_like, expected, outputs

MODELS = Path(__file__).parents[2] / "models_onnx"
NETWORKS = ("clutter_vgg", "clutter_resnet", "clutter_se", "mnist_cnn", "mnist_mlp", "rgb32_cnn")


@pytest.mark.slow
@pytest.mark.parametrize("at", [None, "auto"])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_explainer_of_it_tells_the_same(name: str, at: str | None, tmp_path: Path) -> None:
    net = mr.load(MODELS / name / "model.onnx")
    with np.load(MODELS / name / "calibration.npz") as stored:
        x = (stored["x"][:40] / np.float32(255)).reshape(-1, *net.input_shape).astype(np.float32)
    inverse = mr.fit(net, x, 3, at=at, ridge=1.0)
    path = tmp_path / "explainer.onnx"
    mr.export(inverse, path, check=x[:8])
    feed, wanted = {onnx.load(path).graph.input[0].name: x[:8]}, expected(inverse, x[:8])
    assert_exact(outputs(path, feed), wanted)
    assert_like(outputs(path, feed, optimised=True), wanted)
    # In one picture a value of clutter_vgg is so near to zero that its mask flips there.
    assert_like(openvino.run(path, x[:8]), wanted, flipped=1)
