"""What stands in front of the layers is ended where it takes too long: a loop may turn as often as the data say."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.graph import front
from mipin_ref.graph.forward import Recorder
from tests.graph.quantising import FORMATS, chain, samples, static


def looping() -> ModelProto:
    """A Loop that turns as often as the largest value of the batch, beside a Dense of what it leaves as it was."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["state"], ["kept"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["N", 4]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, ["N", 4]),
        ],
    )
    rng = np.random.default_rng(0)
    constants = {"yes": np.array(True), "w": rng.normal(size=(4, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["turns"], to=TensorProto.INT64),
        helper.make_node("Loop", ["turns", "yes", "x"], ["left"], body=body),
        helper.make_node("Relu", ["left"], ["fired"]),
        helper.make_node("MatMul", ["fired", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_run_in_front_of_the_layers_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    net = mr.load(looping())
    x = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
    assert mr.fit(net, x, 1, at="auto").plan.explained == "left"
    x[5, 0] = 1e12
    monkeypatch.setattr(front, "SECONDS", 1.0)
    started = time.monotonic()
    with pytest.raises(
        mr.UnsupportedModel, match="cannot run the first nodes of the file on 8 samples within 1 seconds"
    ):
        mr.fit(net, x, 1, at="auto")
    assert time.monotonic() - started < 15


def test_whether_samples_mix_is_asked_within_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    net = mr.load(looping())
    assert net.stem is not None
    monkeypatch.setattr(front, "SECONDS", 0.5)
    monkeypatch.setattr(front, "plausible", lambda *given, **more: np.full((3, 4), 1e12, np.float32))
    started = time.monotonic()
    assert not front.mixes(net.stem)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("style", FORMATS)
def test_a_file_that_is_run_as_it_is_has_the_time_of_its_layers(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run may take grows with its samples and their multiply-adds, so that a large batch is not ended."""
    model = static(chain(), tmp_path, style)
    net = mr.load(model)
    assert net.file is not None
    assert net.file.work >= sum(layer.operations / 2 for layer in net.layers if layer.parameters)
    monkeypatch.setattr(front, "SECONDS", 0.0)
    monkeypatch.setattr(front, "SLOWEST", net.file.work / 10)
    assert Recorder(net, [net.logits], threads=1)(samples(model)).values[net.logits].size
