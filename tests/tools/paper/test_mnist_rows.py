"""Digits read row by row: what deleting pixels takes, against loops and closed forms, and the network as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
import reproduce_paper
from paper.mnist_rows import DELETED, FILE, INK, WAYS, drops, ink
from training.planted_networks import exported
from training.rows_network import trained

SIDE, CLASSES = 28, 10
EPS = float(np.finfo(np.float32).eps)


def linear(folder: Path) -> NDArray[np.float32]:
    """A network whose logits are linear in the pixels; gives its weights [784, 10]."""
    weights = np.random.default_rng(0).standard_normal((SIDE * SIDE, CLASSES)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["rows"], ["flat"]), helper.make_node("Gemm", ["flat", "w"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / FILE)
    return weights


def mnist(weights: NDArray[np.float32], path: Path) -> dict[str, NDArray[Any]]:
    """A file like Keras's, whose labels are what the network says."""
    rng, made = np.random.default_rng(1), {}
    for split, count in (("train", 60), ("test", 20)):
        images = rng.integers(0, 256, (count, SIDE, SIDE)) * (rng.random((count, SIDE, SIDE)) < 0.3)
        made[f"x_{split}"] = images.astype(np.uint8)
        made[f"y_{split}"] = np.argmax(made[f"x_{split}"].reshape(count, -1) @ weights, axis=1).astype(np.uint8)
    arrays: dict[str, Any] = made
    np.savez(path, **arrays)
    return made


def test_of_a_linear_network_the_best_pixels_take_their_contributions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = linear(tmp_path)
    data = mnist(weights, tmp_path / "mnist.npz")
    given = ["--mnist", str(tmp_path / "mnist.npz"), "--networks", str(tmp_path), "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr("sys.argv", ["reproduce_paper.py", "rows", *given, "--calibration", "60"])
    reproduce_paper.main()
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["values"] == {"right": 1.0, "images": 20}
    rows = {row["method"]: row for row in told["rows"]}
    assert {*rows} == {*WAYS, INK}
    for method in ("input-x-gradient", "integrated-gradients", "lrp-epsilon"):
        for count in DELETED:
            total = 0.0
            for image, label in zip(data["x_test"], data["y_test"], strict=True):
                contributions = image.reshape(-1) / 255 * weights[:, label].astype(np.float64)
                total += sum(sorted(contributions, reverse=True)[:count])
            # Integrated Gradients, a sum over steps, and logits are in single precision.
            assert rows[method][f"drop_{count}"] == pytest.approx(total / 20, rel=1e-5)
            assert rows[INK][f"drop_{count}"] < rows[method][f"drop_{count}"]


def test_drops_are_those_of_loops(tmp_path: Path) -> None:
    weights = linear(tmp_path).astype(np.float64)
    x = np.random.default_rng(2).random((5, SIDE, SIDE)).astype(np.float32)
    scores, targets = np.random.default_rng(3).integers(0, 50, x.shape), np.array([3, 0, 9, 3, 1])
    made = drops(mr.load(tmp_path / FILE), scores, x, targets)
    for row, target in enumerate(targets):
        order = sorted(range(SIDE * SIDE), key=lambda place: (-scores[row].flat[place], place))
        for column, count in enumerate((10, 20, 40, 80)):
            gone = sum(float(x[row].flat[place]) * weights[place, target] for place in order[:count])
            # The difference of two logits in single precision, each a sum of 784 products.
            assert made[row, column] == pytest.approx(gone, abs=784 * EPS)


def test_ink_goes_before_what_is_black() -> None:
    x = np.random.default_rng(4).random((3, SIDE, SIDE)).astype(np.float32)
    x[x < 0.6] = 0
    scores = ink(x)
    assert scores[x > 0].min() >= scores[x == 0].max()
    assert len(np.unique(scores)) == scores.size


@pytest.mark.filterwarnings("ignore:You are using the legacy:DeprecationWarning")
def test_the_network_is_what_its_file_computes_and_training_repeats_itself() -> None:
    x = np.random.default_rng(5).random((20, SIDE, SIDE)).astype(np.float32)
    y = np.arange(20) % CLASSES
    first, again = (trained(x, y, 0, steps=2) for _ in range(2))
    images = torch.from_numpy(x)
    with torch.no_grad():
        expected = first(images).numpy()
        np.testing.assert_array_equal(again(images).numpy(), expected)
    (logits,) = onnxruntime.InferenceSession(exported(first, images[:2], "rows")).run(None, {"rows": x})
    # Two engines in single precision.
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
