"""Heads: what is removed behind the logits, in every form, and the probabilities that the file itself gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import mipin_ref as mr
from tests.graph.rewrites.ended import Ended, X, run
from tests.graph.sketch import Sketch, assert_consistent, tensors_of
from tests.oracles.heads import probabilities

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
    with pytest.raises(mr.InvalidData, match="is one number, which has the one target 0"):
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


def test_a_sigmoid_of_some_parts_of_the_output() -> None:
    """Those parts are logits with a probability each; the others are explained as they are, and have none."""
    ended = Ended(3)
    without, sketch = ended.without(), ended.sketch
    joined = sketch.node("Concat", ended.logits[0], sketch.node("Sigmoid", ended.logits[0]), axis=1)
    model = sketch.model(joined)
    net = mr.load(model)
    probabilities, logits = net.predict(X)
    expected, z = run(model), run(without)
    assert net.head == "sigmoid"
    np.testing.assert_allclose(logits, np.concatenate([z, z], 1), rtol=1e-5, atol=1e-5)
    assert np.isnan(probabilities[:, :3]).all()
    np.testing.assert_allclose(probabilities[:, 3:], expected[:, 3:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("what", ["scaled", "dense", "hidden", "read twice"])
def test_a_sigmoid_that_something_follows_stays(what: str) -> None:
    ended = Ended(3)
    sketch = ended.sketch
    p = sketch.node("Sigmoid", ended.logits[0], out="p")
    if what == "scaled":
        out = sketch.node("Mul", p, sketch.const([100.0]))
    elif what == "dense":
        out = sketch.dense(p, 3, 2)
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


def test_scores_that_are_cut_out_of_what_also_tells_boxes() -> None:
    """As the older detectors of YOLO do: one Sigmoid of all values of a cell, of which boxes are computed on."""
    ended = Ended(12)
    sketch = ended.sketch
    cells = sketch.node("Reshape", ended.logits[0], sketch.ints(0, 2, 6))
    p = sketch.node("Sigmoid", cells)
    boxes = sketch.node(
        "Mul", sketch.node("Slice", p, sketch.ints(0), sketch.ints(4), sketch.ints(2)), sketch.const(9.0)
    )
    scores = sketch.node("Slice", p, sketch.ints(4), sketch.ints(6), sketch.ints(2))
    model = sketch.model(sketch.node("Concat", boxes, scores, axis=2))
    net = mr.load(model)
    assert net.head == "sigmoid"
    z, told = run(ended.without()).reshape(-1, 2, 6), run(model).reshape(-1, 2, 6)
    chances, logits = (one.reshape(-1, 2, 6) for one in net.predict(X))
    np.testing.assert_allclose(logits[..., 4:], z[..., 4:], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(chances[..., 4:], told[..., 4:], rtol=2e-5, atol=3e-7)
    np.testing.assert_allclose(logits[..., :4], told[..., :4], rtol=1e-5, atol=1e-5)
    assert np.isnan(chances[..., :4]).all()


def test_classes_before_samples() -> None:
    """An output [C, N]."""
    ended = Ended(4)
    without = ended.without()
    sketch = ended.sketch
    net = mr.load(sketch.model(sketch.node("Transpose", sketch.node("Sigmoid", ended.logits[0]), perm=[1, 0])))
    assert net.head == "sigmoid"
    np.testing.assert_allclose(net.predict(X)[1], run(without), rtol=1e-5, atol=1e-5)


def test_a_logarithm_before_the_end_is_an_activation() -> None:
    ended = Ended(3)
    sketch = ended.sketch
    out = sketch.dense(sketch.node("Log", sketch.node("Sigmoid", ended.logits[0]), out="inner"), 3, 2)
    net = mr.load(sketch.model(out))
    assert net.head is None
    assert [layer.describe() for layer in net.layers if layer.kind == "Activation"][-2:] == ["Sigmoid", "Log"]


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


@pytest.mark.parametrize("places", [1, 2])
def test_a_mean_over_one_place_belongs_to_the_head_and_over_several_is_refused(places: int) -> None:
    """As behind a recurrent network that is run step by step: a mean of several probabilities has no logit."""
    sketch = Sketch(4 * places)
    z = sketch.node("Reshape", sketch.dense("x", 4 * places, 3 * places), sketch.ints(-1, places, 3), out="z")
    model = sketch.model(sketch.node("ReduceMean", sketch.node("Sigmoid", z, out="p"), axes=[1], keepdims=0))
    if places > 1:
        with pytest.raises(mr.UnsupportedModel, match=r"a mean of several probabilities, those of 'p'"):
            mr.load(model)
        return
    net = mr.load(model)
    x = np.random.default_rng(2).standard_normal((6, 4), np.float32)
    assert net.head == "sigmoid"
    expected = tensors_of(model, x)
    np.testing.assert_allclose(net.predict(x)[0], expected["p"][:, 0], rtol=1e-5, atol=1e-6)
