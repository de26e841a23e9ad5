"""Files that are run as they are, against onnxruntime itself and scikit-learn; what `load` refuses for its size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.open_forward import open_forward
from tests.graph import test_hostile_sizes as hostile
from tests.graph.limited import in_little_memory
from tests.graph.sketch import Sketch

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 6))
CLASSES = np.array(["cat", "dog", "emu"])
Y = CLASSES[np.digitize(X[:, 0] + X[:, 1] ** 2, [0.2, 1.2])]


def model_of(nodes: list[Any], outputs: list[Any], size: tuple[Any, ...] = ("N", 6), **constants: Any) -> ModelProto:
    """A file of these nodes, from input x to the outputs."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(size))],
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def value(name: str, shape: Any = None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def ran(model: ModelProto, x: Any, *outputs: str) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(list(outputs), {session.get_inputs()[0].name: x}))


def forest(kind: Any, **options: Any) -> tuple[Any, ModelProto]:
    """Trees that scikit-learn fits, and skl2onnx writes: a label and probabilities."""
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.ensemble import RandomForestClassifier

    trees = RandomForestClassifier(9, random_state=0).fit(X.astype(kind), Y)
    return trees, skl2onnx.to_onnx(trees, X[:1].astype(kind), **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("zipmap", [True, False, "columns"])
def test_trees_with_a_label_and_probabilities(kind: Any, zipmap: Any) -> None:
    """A list of {class: probability}, a matrix, or a column a class; features in double precision stay so."""
    trees, model = forest(kind, options={"zipmap": zipmap})
    if zipmap != "columns":  # which are cut out behind the trees, by a layer that has an inverse
        with pytest.raises(mr.UnsupportedModel, match="tree ensemble"):
            mr.load(model)
    net = open_forward(model, output=None if zipmap != "columns" else "semu")
    assert net.stem.apart is None
    x = X.astype(kind)
    output, logits = net.predict(x)
    wanted = trees.predict_proba(x)
    wanted = wanted[:, 2:] if zipmap == "columns" else wanted
    # The file adds up in single precision what nine trees say.
    np.testing.assert_allclose(output, wanted, rtol=0, atol=9 * float(np.finfo(np.float32).eps))
    assert logits is None
    assert net.dtype == kind
    assert net.classes == wanted.shape[1]
    assert net.probability is not None
    assert net.labels == (() if zipmap == "columns" else tuple(CLASSES))
    assert [net.check_target(c) for c in range(net.classes)] == list(range(net.classes))
    for bad in (net.classes, -1, "cat", (0, 1), True):
        with pytest.raises(mr.InvalidData, match="target"):
            net.check_target(bad)


def test_a_regression_of_trees_has_one_target_and_no_probability() -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.ensemble import RandomForestRegressor

    trees = RandomForestRegressor(5, random_state=0).fit(X, 10 * X[:, 0])
    net = open_forward(skl2onnx.to_onnx(trees, X[:1].astype(np.float32)))
    output, logits = net.predict(X[:20].astype(np.float32))
    np.testing.assert_allclose(output[:, 0], trees.predict(X[:20].astype(np.float32)), rtol=1e-5)
    assert (net.classes, net.probability, logits) == (1, None, None)
    assert net.check_target(0) == 0


@pytest.mark.parametrize(("operator", "head"), [("Softmax", "softmax"), ("Sigmoid", "sigmoid")])
def test_what_stands_in_front_of_a_head_is_explained(operator: str, head: str) -> None:
    nodes = [helper.make_node("CumSum", ["x", "axis"], ["z"]), helper.make_node(operator, ["z"], ["p"])]
    model = model_of([*nodes, helper.make_node("Identity", ["p"], ["out"])], [value("out")], axis=np.int64(1))
    with pytest.raises(mr.UnsupportedModel, match="CumSum"):
        mr.load(model)
    net = open_forward(model)
    x = X[:9].astype(np.float32)
    output, logits = net.predict(x, batch_size=4)
    np.testing.assert_allclose(output, ran(model, x, "out")[0], rtol=1e-6)
    assert logits is not None
    np.testing.assert_allclose(logits, np.cumsum(x, axis=1), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(net.scoring()(x, 0), logits)
    assert (net.head, net.logits, net.output) == (head, "z", "out")
    assert net.probability == "output 'out' of the file"


def loop() -> ModelProto:
    """Powers of a matrix by a loop whose length depends on the data: samples of a batch depend on each other."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w"], ["next"]),
            helper.make_node("ReduceMax", ["next"], ["peak"], keepdims=0),
            helper.make_node("Less", ["peak", "bound"], ["again"]),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("state", ["N", 6])],
        [value("again", [], TensorProto.BOOL), value("next", ["N", 6])],
    )
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("Loop", ["most", "yes", "a"], ["end"], body=body),
    ]
    weight = np.float32(0.6) * np.eye(6, dtype=np.float32) + np.float32(0.2)
    constants: dict[str, Any] = {"w": weight, "bound": np.float32(9), "most": np.int64(40), "yes": np.array(True)}
    return model_of(nodes, [value("end", ["N", 6])], **constants)


def condition() -> ModelProto:
    """An If on the data: both branches are there when it is run."""
    branches = {
        f"{name}_branch": helper.make_graph([helper.make_node(operator, ["x"], [name])], name, [], [value(name)])
        for name, operator in (("then", "Sin"), ("else", "Cos"))
    }
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Less", ["sum", "zero"], ["low"]),
        helper.make_node("If", ["low"], ["end"], **branches),
    ]
    return model_of(nodes, [value("end", ["N", 6])], zero=np.float32(0))


@pytest.mark.parametrize("make", [loop, condition])
def test_loops_and_conditions_on_the_data(make: Callable[[], ModelProto]) -> None:
    """Each sample is run by itself where those of a batch depend on each other."""
    model, x = make(), X[:7].astype(np.float32)
    net = open_forward(model)
    alone = np.concatenate([ran(model, x[i : i + 1], "end")[0] for i in range(len(x))])
    together = ran(model, x, "end")[0]
    assert np.abs(alone - together).max() > 0.1, "nothing depends on the batch"
    np.testing.assert_allclose(net.predict(x)[0], alone, rtol=1e-5)


def test_a_quantised_output() -> None:
    """Bytes are scores too, where there are no others."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "zero"], ["q"]),
        helper.make_node("QLinearMatMul", ["q", "s", "zero", "w", "s", "zero", "s", "zero"], ["out"]),
    ]
    weight = RNG.integers(90, 160, (6, 3)).astype(np.uint8)
    model = model_of(
        nodes, [value("out", ["N", 3], TensorProto.UINT8)], s=np.float32(0.05), zero=np.uint8(128), w=weight
    )
    net = open_forward(model)
    x = X[:9].astype(np.float32)
    np.testing.assert_array_equal(net.predict(x)[0], ran(model, x, "out")[0])
    assert net.probability is None


def test_a_fixed_batch_and_several_axes() -> None:
    """A file for one sample at a time; a target is a tuple where the output has several axes."""
    nodes = [
        helper.make_node("CumSum", ["x", "axis"], ["z"]),
        helper.make_node("Reshape", ["z", "shape"], ["out"]),
    ]
    model = model_of(nodes, [value("out", [1, 2, 3])], (1, 6), axis=np.int64(1), shape=np.array([1, 2, 3], np.int64))
    net = open_forward(model)
    x = X[:5].astype(np.float32)
    np.testing.assert_allclose(net.predict(x)[0], np.cumsum(x, axis=1), rtol=1e-5, atol=1e-6)
    assert (net.target_shape, net.check_target((1, 0)), net.target(3)) == ((2, 3), 3, (1, 0))
    assert net.stem.apart == 1
    ones = model_of(
        [*nodes[:1], helper.make_node("Unsqueeze", ["z", "axes"], ["out"])],
        [value("out")],
        axis=np.int64(1),
        axes=np.array([1, 3], np.int64),
    )
    assert open_forward(ones).target_shape == (6,)
    flat = model_of(
        [*nodes[:1], helper.make_node("ReduceMax", ["z"], ["out"], axes=[1], keepdims=0)],
        [value("out")],
        axis=np.int64(1),
    )
    assert open_forward(flat).classes == 1


def test_integers_and_inputs_that_are_bound() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("CumSum", ["ids", "axis"], ["sums"]),
            helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", "rate"], ["out"]),
        ],
        "ids",
        [value("ids", ["N", "T"], TensorProto.INT64), value("rate", [])],
        [value("out")],
        [numpy_helper.from_array(np.array(1), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(mr.UnsupportedModel, match=r"has 2 inputs.*option 'given'.*option 'input_shape'"):
        open_forward(model)
    net = open_forward(model, input_shape={"ids": (4,)}, given={"rate": 0.5})
    assert net.whole
    ids = np.array([[1, 2, 3, 4], [0, 0, 7, 1]])
    np.testing.assert_array_equal(net.predict(ids)[0], np.cumsum(ids, axis=1) / 2)
    with pytest.raises(mr.InvalidData, match="reads integers"):
        net.predict(ids + 0.5)
    other = open_forward(model, input_shape={"ids": (4,)}, given={"rate": 0.25})
    assert len({net.sha256, other.sha256}) == 2


def test_what_it_says_of_itself_and_refuses() -> None:
    _, model = forest(np.float32)
    net = open_forward(model, reason="as it has no inverse")
    assert str(net).startswith("a file that is run as it is (as it has no inverse)\ninput 'X' [N, 6] float32")
    assert net.tensor("X") == "X"
    with pytest.raises(mr.InvalidData, match="of this file only the input 'X' can be"):
        net.channel_axis("probabilities")
    for bad, message in (
        (X[:0], "hold no sample"),
        (X[:, :3], "the network takes"),
        (X * np.nan, "NaN or Inf"),
        ("x.npy", "must be arrays"),
    ):
        with pytest.raises(mr.InvalidData, match=message):
            net.predict(bad)  # type: ignore[arg-type]


# --- what is refused -----------------------------------------------------------------------------------------------

SIZES = [
    make
    for make in vars(hostile).values()
    if callable(make)
    and getattr(make, "__annotations__", {}).get("return") == "ModelProto"
    and not make.__code__.co_argcount
]


@pytest.mark.slow
@pytest.mark.parametrize("make", SIZES, ids=lambda make: make.__name__)
def test_sizes_out_of_proportion(make: Callable[[], ModelProto]) -> None:
    assert len(SIZES) > 10
    with in_little_memory(), pytest.raises(mr.MipinError):
        open_forward(make())


def test_scores_by_which_a_class_is_chosen() -> None:
    """A class that is gated, as `load` only proposes: the scores in front of the choice are explained."""
    nodes = [
        helper.make_node("CumSum", ["x", "axis"], ["z"]),
        helper.make_node("ArgMax", ["z"], ["best"], axis=1, keepdims=0),
        helper.make_node("Mul", ["best", "two"], ["out"]),
    ]
    model = model_of(nodes, [value("out", None, TensorProto.INT64)], axis=np.int64(1), two=np.int64(2))
    with pytest.raises(mr.UnsupportedModel, match="chooses 'out' by the scores 'z'"):
        mr.load(model)
    net = open_forward(model)
    x = X[:4].astype(np.float32)
    assert net.output == "z"
    np.testing.assert_allclose(net.predict(x)[0], np.cumsum(x, axis=1), rtol=1e-5, atol=1e-6)


def test_outputs_without_scores() -> None:
    labels = model_of(
        [helper.make_node("CumSum", ["x", "axis"], ["z"]), helper.make_node("Shape", ["z"], ["out"])],
        [value("out", None, TensorProto.INT64)],
        axis=np.int64(1),
    )
    with pytest.raises(mr.UnsupportedModel, match="none of the network's outputs"):
        open_forward(labels)
    mixed = model_of(
        [helper.make_node("CumSum", ["x", "axis"], ["z"]), helper.make_node("ReduceSum", ["z"], ["out"], keepdims=0)],
        [value("out")],
        axis=np.int64(1),
    )
    with pytest.raises(mr.UnsupportedModel, match="which axis of output 'out' is that of the samples cannot be told"):
        open_forward(mixed)
    with pytest.raises(mr.InvalidData, match="no output 'nowhere'"):
        open_forward(mixed, output="nowhere")


def test_a_file_that_cannot_be_run() -> None:
    """Two matrices that do not fit: only onnxruntime notices."""
    nodes = [helper.make_node("CumSum", ["x", "axis"], ["z"]), helper.make_node("MatMul", ["z", "w"], ["out"])]
    model = model_of(nodes, [value("out")], axis=np.int64(1), w=np.ones((5, 2), np.float32))
    with pytest.raises(mr.UnsupportedModel, match="onnxruntime cannot run the file"):
        open_forward(model)


def test_weights_beside_the_file(tmp_path: Path) -> None:
    sketch = Sketch(6)
    summed = sketch.node("CumSum", sketch.node("MatMul", "x", sketch.normal(6, 64)), sketch.const(np.int64(1)))
    model = sketch.model(summed)
    expected = open_forward(model).predict(X[:3].astype(np.float32))[0]
    onnx.save(model, str(tmp_path / "net.onnx"), save_as_external_data=True, location="w.bin", size_threshold=16)
    net = open_forward(tmp_path / "net.onnx")
    np.testing.assert_array_equal(net.predict(X[:3].astype(np.float32))[0], expected)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(mr.CorruptFile, match=r"w\.bin.*missing"):
        open_forward(tmp_path / "net.onnx")
    with pytest.raises(mr.InvalidData, match="there is no file"):
        open_forward(tmp_path / "none.onnx")
    with pytest.raises(mr.CorruptFile, match="not an ONNX model"):
        open_forward(b"nothing of the kind")


def test_a_network_scores_as_it_predicts() -> None:
    sketch = Sketch(6)
    net = mr.load(sketch.model(sketch.node("MatMul", "x", sketch.normal(6, 3))))
    x = X[:4].astype(np.float32)
    np.testing.assert_array_equal(net.scoring()(x, 0), net.predict(x)[1])
    assert isinstance(open_forward(sketch.model(sketch.node("MatMul", "x", sketch.normal(6, 3)))), ForwardOnly)


def test_a_constant_that_holds_nan_is_named() -> None:
    """Where it reaches the output: no other method would do."""
    weight = np.eye(6, dtype=np.float32)
    weight[1, 2] = np.nan
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["out"])]
    net = open_forward(model_of(nodes, [value("out")], weight=weight))
    x = np.ones((2, 6), np.float32)
    told = "the output 'out', samples 0..1, hold NaN or Inf: 'weight', a constant of the model, holds NaN$"
    with pytest.raises(mr.InvalidData, match=told):
        net.predict(x)
    overflows = open_forward(model_of(nodes, [value("out")], weight=3e38 * np.eye(6, dtype=np.float32)))
    with pytest.raises(mr.InvalidData, match=r"samples 0\.\.1, hold NaN or Inf$"):
        overflows.predict(2 * x)
