"""Linear models and scalers of scikit-learn's exports, against scikit-learn itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper

import mipin_ref as mr

RNG = np.random.default_rng(0)
X = RNG.normal(1.0, 2.0, size=(80, 4)).astype(np.float32)
BINARY = (X[:, 0] > 1).astype(int)
THREE = BINARY + (X[:, 1] > 1)


def exported(model: Any, y: npt.NDArray[Any]) -> bytes:
    """The fitted model as ONNX, its probabilities as one tensor."""
    skl2onnx = pytest.importorskip("skl2onnx")
    model.fit(X, y)
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    options = {id(last): {"zipmap": False}} if hasattr(last, "predict_proba") else None
    return bytes(skl2onnx.to_onnx(model, X[:1], options=options).SerializeToString())


def learner(name: str) -> Any:
    linear, pipeline, scaling = (
        pytest.importorskip(f"sklearn.{room}") for room in ("linear_model", "pipeline", "preprocessing")
    )
    network = pytest.importorskip("sklearn.neural_network")
    made = {
        "logistic": lambda: linear.LogisticRegression(),
        "scaled logistic": lambda: pipeline.make_pipeline(scaling.StandardScaler(), linear.LogisticRegression()),
        "scaled network": lambda: pipeline.make_pipeline(
            scaling.StandardScaler(), network.MLPClassifier((5,), max_iter=30, random_state=0)
        ),
    }
    return made[name]()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["logistic", "scaled logistic", "scaled network"])
@pytest.mark.parametrize("y", [BINARY, THREE], ids=["two classes", "three classes"])
def test_classifiers(name: str, y: npt.NDArray[Any]) -> None:
    model = learner(name)
    net = mr.load(exported(model, y))
    probabilities, logits = net.predict(X)
    expected = model.predict_proba(X)
    assert net.head == ("softmax" if y is THREE else "sigmoid")
    shown = probabilities if probabilities.shape[1] > 1 else np.hstack([1 - probabilities, probabilities])
    np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-5)
    result = mr.fit(net, X, 0, conv_bias=False).attribute(X[:5])
    np.testing.assert_allclose(result.output, logits[:5, 0], rtol=1e-5)
    assert result.source.shape == (5, 4)
    gradient = mr.attribute(net, X[:3], 0, "gradient").attribution
    step = 1e-2 * np.eye(4, dtype=np.float32)
    for i in range(4):
        moved = (net.predict(X[:3] + step[i])[1] - net.predict(X[:3] - step[i])[1])[:, 0] / 2e-2
        if "network" not in name:
            np.testing.assert_allclose(gradient[:, i], moved, rtol=1e-2, atol=1e-3)


def test_a_regression_of_several_targets() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    model = linear.LinearRegression()
    net = mr.load(exported(model, X[:, :2] * 3 + 1))
    np.testing.assert_allclose(mr.attribute(net, X, 1, "gradient").output, model.predict(X)[:, 1], rtol=1e-4, atol=1e-4)
    assert net.classes == 2


def test_scores_without_a_transform_are_logits() -> None:
    weights = RNG.normal(size=(3, 4)).astype(np.float32)
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        coefficients=weights.ravel(),
        intercepts=[0.5, -1.0, 2.0],
        classlabels_ints=[0, 1, 2],
        post_transform="NONE",
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    net = mr.load(helper.make_model(graph, opset_imports=imports, ir_version=8))
    assert net.head is None
    np.testing.assert_allclose(net.predict(X)[1], X @ weights.T + [0.5, -1.0, 2.0], rtol=1e-4, atol=1e-5)


def refused(op: str, outputs: list[str], **attributes: Any) -> str:
    node = helper.make_node(op, ["x"], outputs, name="the_odd", domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info(outputs[-1], TensorProto.FLOAT, ["N", 2])],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    with pytest.raises(mr.UnsupportedModel) as caught:
        mr.load(helper.make_model(graph, opset_imports=imports, ir_version=8))
    return str(caught.value)


def test_what_is_no_linear_model_is_refused_with_what_to_do() -> None:
    coefficients = [1.0] * 8
    classes: dict[str, Any] = {"coefficients": coefficients, "classlabels_ints": [0, 1]}
    assert "its post_transform is PROBIT" in refused("LinearClassifier", ["l", "s"], post_transform="PROBIT", **classes)
    odd = refused("LinearClassifier", ["l", "s"], coefficients=coefficients[:4], classlabels_ints=[0, 1])
    assert "coefficients of 1 classes and labels of 2" in odd
    assert "it has 8 coefficients for 1 outputs of 4 features" in refused(
        "LinearRegressor", ["s"], coefficients=coefficients
    )
    assert "it divides by the norm MAX of the sample; followed are L1 and L2" in refused("Normalizer", ["s"])
    assert "it replaces the value 0 of features" in refused("Imputer", ["s"], imputed_value_floats=[1.0])
    kernel = refused("SVMRegressor", ["s"], kernel_type="RBF")
    assert "a kernel machine is no network of layers; export a linear one as LinearSVR" in kernel


def preparation(name: str) -> Any:
    rooms = "preprocessing", "impute", "compose", "linear_model", "pipeline"
    scaling, impute, compose, linear, pipeline = (pytest.importorskip(f"sklearn.{room}") for room in rooms)
    made = {
        "L2": lambda: scaling.Normalizer("l2"),
        "L1": lambda: scaling.Normalizer("l1"),
        "imputer": lambda: impute.SimpleImputer(),
        "columns": lambda: compose.ColumnTransformer(
            [("some", scaling.StandardScaler(), [2, 0]), ("others", scaling.MinMaxScaler(), [1])]
        ),
    }
    return pipeline.make_pipeline(made[name](), linear.LogisticRegression())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["L2", "L1", "imputer", "columns"])
def test_what_prepares_features_is_followed_down_to_them(name: str) -> None:
    model = preparation(name)
    net = mr.load(exported(model, THREE))
    assert (net.head, net.blocked) == ("softmax", {})
    np.testing.assert_allclose(net.predict(X)[0], model.predict_proba(X), rtol=1e-4, atol=1e-5)
    source = mr.fit(net, X, 0).attribute(X[:5]).source
    assert source.shape == (5, 4)
    assert np.all(source[:, 3] == 0) == (name == "columns")


@pytest.mark.filterwarnings("ignore")
def test_an_imputer_behind_what_may_make_nan_is_no_path() -> None:
    """As skl2onnx guards the branches of a power transform."""
    scaling, linear, pipeline = (
        pytest.importorskip(f"sklearn.{room}") for room in ("preprocessing", "linear_model", "pipeline")
    )
    net = mr.load(exported(pipeline.make_pipeline(scaling.PowerTransformer(), linear.LogisticRegression()), THREE))
    assert any("it replaces NaN that nodes in front of it may make" in str(one) for one in net.blocked[net.input])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["GaussianNB", "MultinomialNB"])
def test_naive_bayes_has_the_joint_likelihood_as_logits(kind: str) -> None:
    bayes = pytest.importorskip("sklearn.naive_bayes")
    model = getattr(bayes, kind)()
    x = np.abs(X)
    skl2onnx = pytest.importorskip("skl2onnx")
    model.fit(x, THREE)
    net = mr.load(skl2onnx.to_onnx(model, x[:1], options={"zipmap": False}).SerializeToString())
    probabilities, logits = net.predict(x)
    assert (net.head, net.blocked) == ("softmax", {})
    np.testing.assert_allclose(logits, model.predict_joint_log_proba(x), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(probabilities, model.predict_proba(x), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dictionaries", [False, True])
def test_classes_each_against_the_rest_are_explained_in_front_of_their_sum(dictionaries: bool) -> None:
    """As skl2onnx wrote LogisticRegression while it was one against the rest by default."""
    weights = RNG.normal(size=(3, 4)).astype(np.float32)
    told: dict[str, Any] = {"coefficients": weights.ravel(), "intercepts": [0.5, -1.0, 2.0]}
    told |= {"classlabels_ints": [0, 1, 2], "post_transform": "LOGISTIC", "domain": "ai.onnx.ml"}
    nodes = [
        helper.make_node("LinearClassifier", ["x"], ["label", "single"], **told),
        helper.make_node("Normalizer", ["single"], ["whole"], name="the_sum", domain="ai.onnx.ml", norm="L1"),
    ]
    outputs = [helper.make_tensor_value_info("whole", TensorProto.FLOAT, ["N", 3])]
    if dictionaries:
        nodes.append(helper.make_node("ZipMap", ["whole"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]))
        kind = helper.make_map_type_proto(TensorProto.INT64, outputs[0].type)
        outputs = [helper.make_value_info("y", helper.make_sequence_type_proto(kind))]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    with pytest.raises(mr.UnsupportedModel, match=r"probabilities of single classes.*'single'.*option 'output' takes"):
        mr.load(model)
    net = mr.load(model, output="single")
    assert net.head == "sigmoid"
    np.testing.assert_allclose(net.predict(X)[1], X @ weights.T + [0.5, -1.0, 2.0], rtol=1e-4, atol=1e-5)
