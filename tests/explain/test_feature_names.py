"""Names of a table's features: a file's, those in metadata, those of inputs that are a column each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.explain.feature_names import feature_names_of
from mipin_ref.panel.fallback import open_any

COLUMNS = ["age", "income (€)", "height", "<b>weight</b>"]
PLAIN = ["age", "income", "height", "weight"]
"""Names that skl2onnx leaves as they are."""
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def of_columns(model: Any, kind: Any = FloatTensorType) -> onnx.ModelProto:
    """The export of a fitted model whose every column is an input."""
    proto: onnx.ModelProto = convert_sklearn(
        model, initial_types=[(name, kind([None, 1])) for name in PLAIN], options={"zipmap": False}
    )
    return proto


def probabilities(proto: onnx.ModelProto, dtype: Any) -> np.ndarray:
    """What onnxruntime makes of the file, column by column."""
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    given = {name: X[:, i : i + 1].astype(dtype) for i, name in enumerate(PLAIN)}
    return np.asarray(session.run(None, given)[1])


@pytest.mark.parametrize("scaled", [True, False])
def test_columns_are_one_input(scaled: bool) -> None:
    first = StandardScaler() if scaled else FunctionTransformer()
    proto = of_columns(Pipeline([("first", first), ("fit", LogisticRegression())]).fit(X, Y))
    net = mr.load(proto)
    assert (net.input, net.input_shape) == ("columns", (4,))
    assert not net.blocked
    assert feature_names_of(net) == tuple(PLAIN)
    # Single precision, of sums of four products.
    np.testing.assert_allclose(net.predict(X)[0], probabilities(proto, np.float32), atol=20 * 1.2e-7)
    assert mr.load(proto, input=PLAIN[0]).input_shape == (1,)
    assert mr.load(proto, given=dict.fromkeys(PLAIN[1:], np.full((1, 1), 0.5, np.float32))).input == PLAIN[0]
    assert mr.load(proto).sha256 == net.sha256 != mr.load(proto, input=PLAIN[0]).sha256


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_columns_that_nodes_read_one_by_one(opset: int) -> None:
    weights = {name: np.array([[0.5 + i, -1.0]], np.float32) for i, name in enumerate(COLUMNS)}
    nodes = [helper.make_node("MatMul", [name, f"w{i}"], [f"p{i}"]) for i, name in enumerate(COLUMNS)]
    nodes.append(helper.make_node("Sum", [f"p{i}" for i in range(4)], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "columns",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in COLUMNS],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(value, f"w{i}") for i, value in enumerate(weights.values())],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    net = mr.load(proto)
    expected = X @ np.concatenate([*weights.values()])
    np.testing.assert_allclose(net.predict(X)[1], expected, atol=50 * 1.2e-7)
    assert feature_names_of(net) == tuple(COLUMNS)
    np.testing.assert_allclose(
        mr.attribute(net, X, 0, "gradient").attribution[0], np.concatenate([*weights.values()])[:, 0], atol=1e-6
    )


@pytest.mark.slow
def test_columns_in_double_precision_and_trees() -> None:
    model = Pipeline([("as it is", FunctionTransformer()), ("trees", RandomForestClassifier(4, random_state=0))])
    proto = of_columns(model.fit(X, Y))
    net: Any = open_any(proto)
    assert (net.input_shape, feature_names_of(net)) == ((4,), tuple(PLAIN))
    np.testing.assert_allclose(net.predict(X)[0], probabilities(proto, np.float32), atol=4 * 1.2e-7)
    double = of_columns(
        Pipeline([("scale", StandardScaler()), ("fit", LogisticRegression())]).fit(X, Y), DoubleTensorType
    )
    # The file divides by the sum behind its sigmoids, so that what is explained are the shares themselves.
    shares = open_any(double).predict(X.astype(np.float64))[1]
    assert shares is not None
    np.testing.assert_allclose(shares, probabilities(double, np.float64), atol=20 * 1.2e-7)


def linear(**metadata: str) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["scores"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(RNG.standard_normal((4, 3)).astype(np.float32), "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(proto, metadata)
    return proto


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"feature_names": json.dumps(COLUMNS)}, True),
        ({"features": repr(COLUMNS)}, True),
        ({"feature_names_in_": ",".join(COLUMNS)}, True),
        ({"columns": "\n".join(COLUMNS)}, True),
        ({"feature_names": json.dumps(COLUMNS[:3])}, False),
        ({"feature_names": json.dumps([[1], [2], [3], [4]])}, False),
        ({"feature_names": json.dumps(["a" * 2000, "b", "c", "d"])}, False),
        ({}, False),
    ],
)
def test_metadata(metadata: dict[str, str], named: bool) -> None:
    assert feature_names_of(mr.load(linear(**metadata))) == (tuple(COLUMNS) if named else None)


@pytest.mark.slow
def test_pages_hold_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(linear(feature_names=json.dumps(COLUMNS)), "net.onnx")
    np.save("x.npy", X)
    assert main(["explain", "net.onnx", "x.npy", "--limit", "2", "-o", "out"]) == 0
    text = Path("out/index.html").read_text()
    assert "&lt;b&gt;weight&lt;/b&gt;" in text
    assert "<b>weight" not in text
    assert "income (€)" in text
    mr.explain("net.onnx", X[:2], progress=False).save("saved")
    assert "income (€)" in Path("saved/index.html").read_text()
    Path("own.txt").write_text("\n".join("abcd"))
    assert main(["explain", "net.onnx", "x.npy", "--limit", "2", "-o", "own", "--feature-names", "own.txt"]) == 0
    assert "income" not in Path("own/index.html").read_text()
    assert main(["compare", "net.onnx", "x.npy", "--limit", "2", "-o", "r.html", "--methods", "gradient"]) == 0
    assert "income (\\u20ac)" in Path("r.html").read_text()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("deep", ["--at", "hidden"], "feature names are those of the input 'x', and 'hidden' is explained"),
        ("linear", ["--feature-names", "three.txt"], "three.txt: names 3 features; the input 'x' has 4"),
        ("picture", [], "feature names are those of table rows, and the input 'x' of shape [1, 4, 4] is none"),
    ],
)
def test_names_that_do_not_fit_are_refused_before_anything_is_computed(
    model: str,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    proto = linear()
    if model == "deep":
        del proto.graph.node[:]
        proto.graph.node.append(helper.make_node("Gemm", ["x", "w"], ["first"]))
        proto.graph.node.append(helper.make_node("Relu", ["first"], ["hidden"]))
        proto.graph.node.append(helper.make_node("Gemm", ["hidden", "v"], ["scores"]))
        proto.graph.initializer.append(numpy_helper.from_array(np.eye(3, dtype=np.float32), "v"))
    if model == "picture":
        for size in (1, 4, 4):
            proto.graph.input[0].type.tensor_type.shape.dim.add(dim_value=size)
        del proto.graph.input[0].type.tensor_type.shape.dim[1]
        proto.graph.node.insert(0, helper.make_node("Flatten", ["x"], ["flat"]))
        proto.graph.node[1].input[0] = "flat"
        del proto.graph.initializer[:]
        proto.graph.initializer.append(numpy_helper.from_array(np.ones((16, 3), np.float32), "w"))
    onnx.save(proto, "net.onnx")
    Path("four.txt").write_text("a\nb\nc\nd\n")
    Path("three.txt").write_text("a\nb\nc\n")
    names = [] if "--feature-names" in options else ["--feature-names", "four.txt"]
    # The data are not there: nothing is read before.
    assert main(["explain", "net.onnx", "nowhere.npy", *options, *names]) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
