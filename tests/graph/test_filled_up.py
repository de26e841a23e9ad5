"""Samples that are filled up with large numbers, as files mark what is missing: they play no part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
from tests.graph.test_sequence_lengths import EPS, assert_same, run
from tests.graph.with_lengths import OUTPUTS, STEPS, File, samples


def filled(value: float) -> dict[str, Any]:
    """Samples of all lengths, each feature past one of another size and sign."""
    feed = samples()
    over = np.arange(STEPS) >= feed["lengths"][:, None]
    feed["x"][over] = np.random.default_rng(0).standard_normal(feed["x"][over].shape) * value
    return feed


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("value", [1e4, 1e9, 1e20])
def test_values_and_signals_are_those_of_other_fillings(kind: str, value: float) -> None:
    """To the last bit: gates are shut, and what they are shut on is finite."""
    file = File(kind, "forward" if kind == "RNN" else "bidirectional", read="steps")
    net, feed = mr.load(file.model(), input="x"), filled(value)
    assert not net.blocked
    assert_same(net, file.model(), feed)
    inverse = mr.fit(net, samples(), 1)
    first = inverse.attribute(samples())
    with pytest.warns(mr.InputRangeWarning):
        second = inverse.attribute(feed)
    np.testing.assert_array_equal(first.source, second.source)
    np.testing.assert_array_equal(first.attribution, second.attribution)
    over = np.arange(STEPS) >= feed["lengths"][:, None]
    assert not np.any(second.attribution[over])
    gradient, other = (mr.attribute(net, data, 1, "gradient").attribution for data in (samples(), feed))
    np.testing.assert_array_equal(gradient, other)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_an_explainer_of_its_own(kind: str, tmp_path: Path) -> None:
    """By onnxruntime alone, in float32: what it holds of shut gates is finite too. The file counts steps itself."""
    model = File(kind, read="steps").model()
    del model.graph.input[1:]
    made = [
        helper.make_node("ReduceMax", ["x"], ["largest"], axes=[2], keepdims=0),
        helper.make_node("Greater", ["largest", "missing"], ["held"]),
        helper.make_node("Cast", ["held"], ["whole"], to=TensorProto.INT32),
        helper.make_node("ReduceSum", ["whole", "over"], ["lengths"], keepdims=0),
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.array(-1e8, np.float32), "missing"))
    for node in reversed(made):
        model.graph.node.insert(0, node)
    net, x = mr.load(model), filled(1e9)["x"]
    x[np.abs(x) > 1e3] = -1e9
    x[:, 0] = samples()["x"][:, 1]
    assert not net.blocked
    np.testing.assert_allclose(net.predict(x)[1], run(model, {"x": x}), rtol=0, atol=64 * EPS)
    inverse = mr.fit(net, x, 1)
    mr.export(inverse, tmp_path / "explainer.onnx", check=x)
    runtime = ort.InferenceSession(tmp_path / "explainer.onnx", providers=["CPUExecutionProvider"])
    wanted, names = inverse.attribute(x), [one.name for one in runtime.get_outputs()]
    found = dict(zip(names, runtime.run(None, {"x": x}), strict=True))
    for what, value in (("source", wanted.source), ("attribution", wanted.attribution)):
        np.testing.assert_allclose(found[what], value, rtol=0, atol=64 * EPS * np.abs(value).max())
