"""A class whose probability is one minus that of another has the negative logit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.verify import verify
from mipin_ref.layers import Dense
from tests.graph.rewrites.ended import Ended, X, run
from tests.graph.sketch import Sketch, assert_consistent, load_whole


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
    with pytest.raises(mr.UnsupportedModel, match="before the end, where it multiplies nothing, it has no inverse"):
        load_whole(ended.sketch.model(out))
