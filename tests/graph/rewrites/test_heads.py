"""Heads: what is removed behind the logits, in every form, and the probabilities that the file itself gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto

import mipin_ref as mr
from mipin_ref.graph.verify import verify
from mipin_ref.layers import Dense
from tests.graph.sketch import Sketch, assert_consistent
from tests.oracles.heads import probabilities

Array = npt.NDArray[Any]
X = np.random.default_rng(5).standard_normal((7, 2, 5, 5)).astype(np.float32) * 3


def run(model: ModelProto, x: Array = X) -> Array:
    """The file's one output by onnxruntime, one row a sample."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"x": x})
    return np.asarray(out).reshape(len(x), -1)


class Ended:
    """A small classifier with logits of `classes`, and what the file computes behind them."""

    def __init__(self, classes: int, *, parts: tuple[int, ...] = (), map_ends: bool = False, opset: int = 17) -> None:
        self.sketch = Sketch(2, 5, 5, opset=opset)
        relu = self.sketch.node("Relu", self.sketch.conv("x", 2, 3))
        if map_ends:
            self.logits = [self.sketch.node("GlobalAveragePool", self.sketch.conv(relu, 3, classes, (1, 1)), out="z")]
            return
        flat = self.sketch.node("Flatten", relu)
        self.logits = [self.sketch.dense(flat, 27, n) for n in parts or (classes,)]

    def without(self) -> ModelProto:
        sketch = self.sketch
        nodes = list(sketch.nodes)
        found = sketch.model(self.logits[0] if len(self.logits) == 1 else sketch.node("Concat", *self.logits, axis=1))
        sketch.nodes = nodes
        return found

    def behind(self, tensor: str, *steps: str) -> str:
        """Operators that belong to a head, or only move it."""
        sketch = self.sketch
        for step in steps:
            if step == "Squeeze":
                tensor = sketch.node("Squeeze", tensor, sketch.ints(1))
            elif step == "Unsqueeze":
                tensor = sketch.node("Unsqueeze", tensor, sketch.ints(2))
            elif step == "Reshape":
                tensor = sketch.node("Reshape", tensor, sketch.ints(0, -1, 1))
            elif step == "Vector":
                tensor = sketch.node("Reshape", tensor, sketch.ints(-1))
            elif step == "Cast":
                tensor = sketch.node("Cast", tensor, to=TensorProto.DOUBLE)
            elif step == "Transpose":
                tensor = sketch.node("Transpose", sketch.node("Unsqueeze", tensor, sketch.ints(1)), perm=[0, 2, 1])
            elif step == "Clip":
                tensor = sketch.node("Clip", tensor, sketch.const(1e-7), sketch.const(1 - 1e-7))
            elif step == "Mean":
                tensor = sketch.node("ReduceMean", sketch.node("Unsqueeze", tensor, sketch.ints(1)), axes=[1])
            elif step == "Mean of one":
                tensor = sketch.node("ReduceMean", tensor, axes=[1], keepdims=0)
            else:
                tensor = sketch.node(step, tensor)
        return tensor


TAILS: list[tuple[str, ...]] = [
    (),
    ("Identity",),
    ("Dropout",),
    ("Reshape",),
    ("Unsqueeze",),
    ("Flatten",),
    ("Cast",),
    ("Transpose",),
    ("Clip",),
    ("Log",),
    ("Clip", "Log"),
    ("Reshape", "Log", "Identity"),
    ("Mean",),
]


def check(model: ModelProto, without: ModelProto, kind: str, tail: tuple[str, ...] = ()) -> mr.Network:
    """The logits, gradients and probabilities are those of the file without its head."""
    net, plain = mr.load(model), mr.load(without)
    assert_consistent(net)
    assert net.head == kind
    assert plain.head is None
    chances, scores = net.predict(X)
    np.testing.assert_allclose(scores, run(without), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(chances, net.probabilities(scores))
    np.testing.assert_allclose(chances, probabilities(kind, scores), rtol=1e-12)
    told = run(model).astype(np.float64)
    np.testing.assert_allclose(np.exp(told) if "Log" in tail else told, chances, rtol=2e-5, atol=3e-7)
    for target in range(net.classes):
        a, b = (mr.attribute(one, X, target, "gradient").attribution for one in (net, plain))
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12)
    return net


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("tail", TAILS, ids="-".join)
def test_a_final_sigmoid_is_removed(classes: int, tail: tuple[str, ...]) -> None:
    ended = Ended(classes)
    without = ended.without()
    p = ended.sketch.node("Sigmoid", ended.logits[0], out="p")
    net = check(ended.sketch.model(ended.behind(p, *tail)), without, "sigmoid", tail)
    assert net.shapes[net.logits] == (classes,)
    with pytest.raises(mr.InvalidData, match="folded"):
        net.tensor("p")


@pytest.mark.parametrize(
    ("op", "tail"),
    [
        *(("Softmax", tail) for tail in TAILS),
        # Of a logarithm there is none.
        *(("LogSoftmax", tail) for tail in TAILS if not {"Log", "Clip"} & set(tail)),
    ],
)
def test_a_final_softmax_is_removed(op: str, tail: tuple[str, ...]) -> None:
    ended = Ended(4)
    without = ended.without()
    out = ended.behind(ended.sketch.node(op, ended.logits[0]), *tail)
    check(ended.sketch.model(out), without, "softmax", ("Log",) if op == "LogSoftmax" else tail)


@pytest.mark.parametrize("tail", [("Squeeze",), ("Vector",), ("Mean of one",), ("Squeeze", "Log"), ("Clip", "Vector")])
@pytest.mark.parametrize("head", [True, False])
def test_an_output_of_one_number_a_sample_has_the_one_target_0(tail: tuple[str, ...], head: bool) -> None:
    ended = Ended(1)
    without = ended.without()
    if head:
        p = ended.sketch.node("Sigmoid", ended.logits[0])
        net = check(ended.sketch.model(ended.behind(p, *tail)), without, "sigmoid", tail)
    else:
        net = mr.load(ended.sketch.model(ended.behind(ended.logits[0], *[s for s in tail if s not in ("Log", "Clip")])))
        assert net.head is None
    assert (net.classes, net.shapes[net.logits]) == (1, (1,))
    assert net.check_target(0) == 0
    with pytest.raises(mr.InvalidData, match=r"classes 0\.\.0"):
        net.check_target(1)
    res = mr.fit(net, np.tile(X, (4, 1, 1, 1)), 0).attribute(X)
    np.testing.assert_allclose(res.output, run(without)[:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tail", [(), ("Squeeze", "Unsqueeze"), ("Transpose",), ("Clip",), ("Log", "Identity")])
def test_sigmoids_of_parts_that_are_joined(tail: tuple[str, ...]) -> None:
    ended = Ended(0, parts=(1, 2, 1))
    without = ended.without()
    sketch = ended.sketch
    ends = [sketch.node("Sigmoid", z) for z in ended.logits]
    if tail == ("Squeeze", "Unsqueeze"):
        for i in (0, 2):
            ends[i] = sketch.node("Unsqueeze", ended.behind(ends[i], "Squeeze"), sketch.ints(1))
        out = sketch.node("Concat", *ends, axis=1)
    else:
        out = ended.behind(sketch.node("Concat", *ends, axis=1), *tail)
    net = check(sketch.model(out), without, "sigmoid", tail)
    assert net.classes == 4


def test_parts_with_clips_of_their_own() -> None:
    ended = Ended(0, parts=(2, 2))
    without = ended.without()
    first, second = (ended.sketch.node("Sigmoid", z) for z in ended.logits)
    check(
        ended.sketch.model(ended.sketch.node("Concat", ended.behind(first, "Clip"), second, axis=1)), without, "sigmoid"
    )


@pytest.mark.parametrize("op", ["Sigmoid", "Softmax"])
@pytest.mark.parametrize("flat", [False, True])
def test_logits_of_a_single_location(op: str, flat: bool) -> None:
    ended = Ended(4, map_ends=True)
    without = ended.without()
    options: dict[str, Any] = {"axis": 1} if op == "Softmax" else {}
    p = ended.sketch.node(op, ended.logits[0], **options)
    net = check(ended.sketch.model(ended.sketch.node("Flatten", p) if flat else p), without, op.lower())
    assert net.shapes[net.logits] == (4,)
    assert net.tensor("z") == "z"


def test_a_class_that_is_cut_out_of_a_sigmoid() -> None:
    ended = Ended(4)
    without = ended.without()
    sketch = ended.sketch
    p = sketch.node("Sigmoid", ended.logits[0])
    net = mr.load(sketch.model(sketch.node("Slice", p, sketch.ints(1), sketch.ints(3), sketch.ints(1))))
    assert (net.head, net.classes) == ("sigmoid", 2)
    np.testing.assert_allclose(net.predict(X)[1], run(without)[:, 1:3], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("what", ["scaled", "dense", "joined", "hidden", "read twice"])
def test_a_sigmoid_that_something_follows_stays(what: str) -> None:
    ended = Ended(3)
    sketch = ended.sketch
    p = sketch.node("Sigmoid", ended.logits[0], out="p")
    if what == "scaled":
        out = sketch.node("Mul", p, sketch.const([100.0]))
    elif what == "dense":
        out = sketch.dense(p, 3, 2)
    elif what == "joined":
        out = sketch.node("Concat", p, ended.logits[0], axis=1)
    elif what == "hidden":
        out = sketch.node("Relu", p)
    else:
        out = sketch.node("Concat", p, sketch.node("Sigmoid", sketch.dense(p, 3, 2)), axis=1)
    model = sketch.model(out)
    net = mr.load(model)
    assert "p" in net.shapes
    if what == "read twice":
        # The output's own p is a head all the same; what computes with p keeps it.
        assert net.head == "sigmoid"
        np.testing.assert_allclose(net.predict(X)[0], run(model), rtol=1e-5, atol=1e-6)
    else:
        assert net.head is None
        logits = mr.attribute(net, X, 0, "gradient", at=net.logits).value
        np.testing.assert_allclose(logits, run(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("one", [(1,), (1, 1), ()])
@pytest.mark.parametrize("tail", [(), ("Log",), ("Clip",), ("Reshape",)])
def test_the_two_classes_of_one_sigmoid(one: tuple[int, ...], tail: tuple[str, ...]) -> None:
    """[1 - p, p]: of each class the sigmoid of its own logit, -z and z, is what the file gives."""
    ended = Ended(1)
    sketch = ended.sketch
    p = sketch.node("Sigmoid", ended.logits[0])
    both = sketch.node("Concat", sketch.node("Sub", sketch.const(np.ones(one)), p), p, axis=1)
    model = sketch.model(ended.behind(both, *tail))
    net = mr.load(model)
    chances, scores = net.predict(X)
    assert (net.head, net.classes) == ("sigmoid", 2)
    told = run(model).astype(np.float64)
    np.testing.assert_allclose(np.exp(told) if "Log" in tail else told, chances, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(scores[:, 0], -scores[:, 1])


@pytest.mark.parametrize("op", ["Sigmoid", "Softmax", None])
@pytest.mark.parametrize("behind", ["", "Cast", "Squeeze", "labels", "float"])
@pytest.mark.parametrize("scores", [False, True])
def test_an_output_that_names_the_class_stands_for_the_scores(op: str | None, behind: str, scores: bool) -> None:
    ended = Ended(4)
    without = ended.without()
    sketch = ended.sketch
    p = sketch.node(op, ended.logits[0]) if op else ended.logits[0]
    end = sketch.node("ArgMax", p, axis=1, keepdims=int(behind == "Squeeze"))
    if behind == "Cast":
        end = sketch.node("Cast", end, to=TensorProto.INT32)
    elif behind == "float":
        end = sketch.node("Cast", end, to=TensorProto.FLOAT)
    elif behind == "Squeeze":
        end = sketch.node("Squeeze", end, sketch.ints(1))
    elif behind == "labels":
        end = sketch.node("ArrayFeatureExtractor", sketch.ints(7, 3, 5, 1), end, domain="ai.onnx.ml")
    model = sketch.model(*[end, p][: 1 + scores])
    for output in (None, end, p):
        net = mr.load(model, output=output)
        assert (net.head, net.classes) == (op.lower() if op else None, 4)
        np.testing.assert_allclose(net.predict(X)[1], run(without), rtol=1e-5, atol=1e-5)
        assert net.output_names == tuple([end, p][: 1 + scores])


@pytest.mark.parametrize("what", ["samples", "top"])
def test_other_labels_have_no_scores(what: str) -> None:
    ended = Ended(4)
    sketch = ended.sketch
    p = sketch.node("Sigmoid", ended.logits[0])
    if what == "top":
        sketch.node("TopK", p, sketch.ints(1), outputs=2, out="top")
        outputs = ["top_1"]
    else:
        outputs = [sketch.node("ArgMax", p, axis=0)]
    with pytest.raises(mr.UnsupportedModel, match="none of the network's outputs"):
        mr.load(sketch.model(*outputs))


def test_two_labels_are_a_choice() -> None:
    ended = Ended(0, parts=(3, 4))
    sketch = ended.sketch
    first, second = (sketch.node("ArgMax", z, axis=1) for z in ended.logits)
    model = sketch.model(first, second)
    with pytest.raises(mr.InvalidData, match=f"2 outputs .{first}, {second}.: name the one"):
        mr.load(model)
    assert (mr.load(model, output=first).classes, mr.load(model, output=second).classes) == (3, 4)


@pytest.mark.parametrize("op", ["Sigmoid", "Softmax"])
@pytest.mark.parametrize("tail", [(), ("Log",)])
def test_probabilities_in_half_precision(op: str, tail: tuple[str, ...]) -> None:
    """The probabilities are as coarse as the file writes them, the logits before them are not."""
    ended = Ended(4)
    without = ended.without()
    sketch = ended.sketch
    half = sketch.node("Cast", ended.behind(sketch.node(op, ended.logits[0]), *tail), to=TensorProto.FLOAT16)
    for model in (sketch.model(half), sketch.model(sketch.node("Cast", half, to=TensorProto.FLOAT))):
        net = mr.load(model)
        assert net.head == op.lower()
        np.testing.assert_allclose(net.predict(X)[1], run(without), rtol=1e-5, atol=1e-5)
        wrong = [
            replace(layer, weight=layer.weight * np.float32(1.001)) if isinstance(layer, Dense) else layer
            for layer in net.layers
        ]
        with pytest.raises(mr.UnsupportedModel, match="differs from the file by"):
            verify(replace(net, layers=tuple(wrong)), model, half={half, "cast"})


def test_classes_before_samples() -> None:
    """An output [C, N]."""
    ended = Ended(4)
    without = ended.without()
    sketch = ended.sketch
    net = mr.load(sketch.model(sketch.node("Transpose", sketch.node("Sigmoid", ended.logits[0]), perm=[1, 0])))
    assert net.head == "sigmoid"
    np.testing.assert_allclose(net.predict(X)[1], run(without), rtol=1e-5, atol=1e-5)


def complement(sketch: Sketch, p: str) -> str:
    return sketch.node("Sub", sketch.const(1.0), p)


@pytest.mark.parametrize("source", ["dense", "pooled", "reshaped", "conv"])
@pytest.mark.parametrize("end", ["first", "last", "each its own", "alone", "squeezed", "vector", "clipped", "thrice"])
def test_one_minus_p_is_the_sigmoid_of_the_negative_logit(source: str, end: str) -> None:
    """Whoever wrote it, in whatever order, and wherever z comes from. The twin has -z written out as layers."""
    found = []
    for head in (True, False):
        ended = Ended(1, map_ends=source in ("pooled", "conv"))
        sketch, (z,) = ended.sketch, ended.logits
        if source == "conv":
            z = sketch.conv(sketch.node("Relu", sketch.conv("x", 2, 3, (4, 4))), 3, 1, (2, 2))
        elif source == "reshaped":
            z = sketch.node("Reshape", z, sketch.ints(0, 1, 1))
        p = sketch.node("Sigmoid", z) if head else z
        again = sketch.node("Sigmoid", z) if head and end == "each its own" else p
        if end == "squeezed":
            p = again = sketch.node("Reshape", p, sketch.ints(0, -1))
        elif end == "vector" and head:
            p = again = sketch.node("Reshape", p, sketch.ints(-1))
        elif end == "clipped" and head:
            p = again = sketch.node("Clip", p, sketch.const(0.25), sketch.const(0.9))
        q = complement(sketch, again) if head else sketch.node("Mul", again, sketch.const(-1.0))
        if end == "thrice":
            q = complement(sketch, complement(sketch, q)) if head else q
        if end == "vector":
            q, p = (sketch.node("Reshape", one, sketch.ints(-1, 1)) for one in (q, p))
        parts = {"last": [p, q], "alone": [q]}.get(end, [q, p])
        found.append(sketch.model(sketch.node("Flatten", sketch.node("Concat", *parts, axis=1))))
    model, without = found
    net, plain = mr.load(model), mr.load(without)
    assert_consistent(net)
    assert net.head == "sigmoid"
    chances, scores = net.predict(X)
    np.testing.assert_allclose(scores, run(without), rtol=1e-5, atol=1e-5)
    low, high = ([0.1, 0.25], [0.75, 0.9]) if end == "clipped" else (0, 1)
    np.testing.assert_allclose(run(model), np.clip(chances, low, high), rtol=2e-5, atol=1e-6)
    for target in range(net.classes):
        for method in ("gradient", "lrp-epsilon", "mip-in"):
            a, b = (mr.Panel(one, np.tile(X, (4, 1, 1, 1))).explain(method, X, target) for one in (net, plain))
            np.testing.assert_allclose(a.output, b.output, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(mr.saliency(a), mr.saliency(b), rtol=1e-3, atol=1e-4)


def test_a_wrong_weight_behind_two_saturated_classes_is_seen() -> None:
    sketch = Sketch(4)
    p = sketch.node("Sigmoid", sketch.node("MatMul", "x", sketch.const(1000 * sketch.rng.standard_normal((4, 1)))))
    model = sketch.model(sketch.node("Concat", complement(sketch, p), p, axis=1))
    net = mr.load(model)
    wrong = [
        replace(layer, weight=layer.weight * np.float32(1.01)) if isinstance(layer, Dense) else layer
        for layer in net.layers
    ]
    with pytest.raises(mr.UnsupportedModel, match="differs from the file by"):
        verify(replace(net, layers=tuple(wrong)), model)


def test_a_complement_of_a_softmax_stays() -> None:
    ended = Ended(3)
    out = complement(ended.sketch, ended.sketch.node("Softmax", ended.logits[0]))
    with pytest.raises(mr.UnsupportedModel, match="before the end it is no element-wise activation"):
        mr.load(ended.sketch.model(out))


def test_a_logarithm_before_the_end_is_refused() -> None:
    ended = Ended(3)
    sketch = ended.sketch
    out = sketch.dense(sketch.node("Log", sketch.node("Sigmoid", ended.logits[0]), out="inner"), 3, 2)
    with pytest.raises(mr.UnsupportedModel, match=r"Log 'the_inner' \(before the end"):
        mr.load(sketch.model(out))


@pytest.mark.parametrize("tail", [(), ("Clip",), ("Log",)])
@pytest.mark.parametrize("parts", [(3,), (1, 2)])
def test_a_wrong_weight_behind_a_saturated_sigmoid_is_seen(tail: tuple[str, ...], parts: tuple[int, ...]) -> None:
    sketch = Sketch(4)
    ends = [
        sketch.node("Sigmoid", sketch.node("MatMul", "x", sketch.const(1000 * sketch.rng.standard_normal((4, n)))))
        for n in parts
    ]
    out = ends[0] if len(ends) == 1 else sketch.node("Concat", *ends, axis=1)
    for op in tail:
        bounds = [sketch.const(1e-6), sketch.const(1.0)] if op == "Clip" else []
        out = sketch.node(op, out, *bounds)
    model = sketch.model(out)
    net = mr.load(model)
    assert verify(net, model) < 1e-5
    wrong = [
        replace(layer, weight=layer.weight * np.float32(1.01)) if isinstance(layer, Dense) else layer
        for layer in net.layers
    ]
    with pytest.raises(mr.UnsupportedModel, match="differs from the file by"):
        verify(replace(net, layers=tuple(wrong)), model)


def test_saturated_logits_have_gradients_and_probabilities() -> None:
    sketch = Sketch(4)
    weight = np.array([[60.0], [0], [0], [0]])
    z = sketch.node("MatMul", "x", sketch.const(weight))
    net = mr.load(sketch.model(sketch.node("Sigmoid", z)))
    x = np.eye(4, dtype=np.float32)[:1]
    for sign in (1, -1):
        np.testing.assert_allclose(mr.attribute(net, sign * x, 0, "gradient").attribution, weight.T)
        chances, scores = net.predict(sign * x)
        assert scores.item() == sign * 60
        assert chances.item() == pytest.approx(1 / (1 + np.exp(-sign * 60)), rel=1e-12)


@pytest.mark.parametrize("tail", [(), ("Log",), ("Clip",), ("Cast",), ("Half",)])
@pytest.mark.parametrize("level", [-15.0, -60.0, -1000.0, 60.0])
def test_logits_that_are_all_far_from_zero(level: float, tail: tuple[str, ...]) -> None:
    """onnxruntime's Sigmoid ends at some 1e-8, the probability does not."""
    sketch = Sketch(4)
    z = sketch.node("Gemm", "x", sketch.normal(4, 3), sketch.const(np.full(3, level)), out="z")
    out = sketch.node("Sigmoid", z)
    if tail == ("Half",):
        out = sketch.node("Cast", out, to=TensorProto.FLOAT16)
    elif tail:
        bounds = [sketch.const(1e-7), sketch.const(1.0)] if tail == ("Clip",) else []
        options: dict[str, Any] = {"to": TensorProto.DOUBLE} if tail == ("Cast",) else {}
        out = sketch.node(tail[0], out, *bounds, **options)
    model = sketch.model(out)
    net = mr.load(model)
    assert net.head == "sigmoid"
    x = np.eye(4, dtype=np.float32)
    (dense,) = net.layers
    assert isinstance(dense, Dense)
    np.testing.assert_allclose(net.predict(x)[1], x @ dense.weight + level, rtol=1e-6)
    assert np.abs(mr.attribute(net, x, 0, "gradient").attribution).max() > 0.1


def test_one_logit_without_a_head_has_no_probability() -> None:
    net = mr.load(Ended(1).without())
    assert net.probability is None
    with pytest.raises(mr.InvalidData, match="no probability"):
        net.predict(X)


def test_logits_without_a_head_have_the_softmax() -> None:
    model = Ended(3).without()
    net = mr.load(model)
    assert net.probability == "the softmax over the classes, of logits that have no head in the file"
    np.testing.assert_allclose(net.predict(X)[0], probabilities("softmax", run(model)), rtol=1e-4)


@pytest.mark.parametrize(
    ("x", "message"),
    [(X[:0], "no sample"), (X[:, :1], "takes"), (X.astype(np.int64), "int64"), (X * np.nan, "NaN"), ("x", "arrays")],
)
def test_predict_checks_its_data(x: Any, message: str) -> None:
    with pytest.raises(mr.InvalidData, match=message):
        mr.load(Ended(3).without()).predict(x)


def test_predict_in_batches() -> None:
    net = mr.load(Ended(3).without())
    for whole, part in zip(net.predict(X), net.predict(X, batch_size=2), strict=True):
        np.testing.assert_allclose(whole, part, rtol=1e-5)


@pytest.mark.parametrize("values", [np.zeros((2, 4)), np.zeros(3), np.zeros((2, 3), int)])
def test_probabilities_of_other_shapes_are_refused(values: Array) -> None:
    with pytest.raises(mr.InvalidData, match=r"logits must be floats \[N, 3\]"):
        mr.load(Ended(3).without()).probabilities(values)


def test_a_long_tail_is_read_at_once() -> None:
    """Neither recursion nor time that grows with every doubling."""
    sketch = Sketch(4)
    out = sketch.node("Sigmoid", sketch.dense("x", 4, 2))
    for _ in range(3000):
        out = sketch.node("Clip", out, sketch.const(0.0), sketch.const(1.0)) if sketch.rng.random() < 0.02 else out
        out = sketch.node("Identity", out)
    for _ in range(8):
        out = sketch.node("Concat", out, out, axis=1)
    net = mr.load(sketch.model(out))
    assert (net.head, net.classes) == ("sigmoid", 512)


def test_weights_beside_the_file(tmp_path: Any) -> None:
    """Such a file is compared by its output alone, as it lies."""
    ended = Ended(3)
    model = ended.sketch.model(ended.behind(ended.sketch.node("Sigmoid", ended.logits[0]), "Clip", "Log"))
    path = str(tmp_path / "model.onnx")
    told = run(model)
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    net = mr.load(path)
    assert net.head == "sigmoid"
    np.testing.assert_allclose(net.predict(X)[0], np.exp(told), rtol=2e-5, atol=3e-7)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("target", [0, 1])
def test_a_number_a_sample_that_two_layers_read_is_one_channel(dtype: str, target: int, tmp_path: Any) -> None:
    """A tensor [N], which has no axis of channels, in a joint fit: as the same tensor [N, 1]."""
    found = []
    for vector in (True, False):
        ended = Ended(1)
        sketch = ended.sketch
        z = sketch.node("Reshape", ended.logits[0], sketch.ints(-1)) if vector else ended.logits[0]
        double = sketch.node("Mul", z, sketch.const(-2.0))
        parts = [sketch.node("Reshape", one, sketch.ints(-1, 1)) for one in (double, z)]
        net = mr.load(sketch.model(sketch.node("Concat", *parts, axis=1)))
        inverse = mr.fit(net, np.tile(X, (4, 1, 1, 1)), target, dtype=dtype)
        inverse.save(tmp_path / "a.mipin")
        found.append(mr.load_inverse(tmp_path / "a.mipin", net).attribute(X))
    np.testing.assert_array_equal(found[0].source, found[1].source)
    np.testing.assert_array_equal(found[0].attribution, found[1].attribution)
