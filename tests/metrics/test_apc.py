"""APC against its formula written as loops, with logits from the original file in onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import logits
from tests.inverse.test_bad_input import X, small


def test_apc_is_the_mean_over_classes_of_the_mean_change() -> None:
    net = small()
    invs = mr.fit(net, X, [0, 1, 2])
    chosen = {0: X[:5], 1: X[5:7], 2: X[7:]}
    results = {c: invs[c].attribute(x) for c, x in chosen.items()}
    change = mr.metrics.apc(net, results)
    changes, positives = [], []
    for c, x in chosen.items():
        per_sample = []
        for i in range(len(x)):
            before = logits(net, x[i : i + 1])[0, c]
            after = logits(net, results[c].source[i : i + 1])[0, c]
            per_sample.append((before - after) / abs(before))
        changes.append(sum(abs(p) for p in per_sample) / len(x))
        positives.append(sum(max(p, 0) for p in per_sample) / len(x))
        median = float(np.median(np.abs(per_sample)))
        assert change.per_class[c] == pytest.approx((changes[-1], positives[-1], median, len(x)), rel=1e-5)
    assert change.apc == pytest.approx(sum(changes) / 3, rel=1e-5)
    assert change.positive == pytest.approx(sum(positives) / 3, rel=1e-5)
    assert change.left_out == 0
    assert 0 < change.positive < change.apc
    assert "mean" in str(change)


def test_a_source_that_is_the_input_has_no_change() -> None:
    net = small()
    res = mr.fit(net, X, 1).attribute(X)
    same = mr.Attribution(res.value, res.value, res.attribution, res.output, 1, res.tensor, 1)
    assert mr.metrics.apc(net, {1: same}).apc < 1e-6


def test_logits_near_zero_are_left_out_and_counted() -> None:
    net = small()
    res = mr.fit(net, X, 1).attribute(X)
    output = res.output.copy()
    output[:4] = 1e-7
    tiny = mr.Attribution(res.value, res.source, res.attribution, output, 1, res.tensor, 1)
    change = mr.metrics.apc(net, {1: tiny})
    assert (change.left_out, change.per_class[1][3]) == (4, 16)
    assert "4 samples" in str(change)
    none = mr.Attribution(res.value, res.source, res.attribution, output * 0, 1, res.tensor, 1)
    with pytest.raises(mr.InvalidData, match="no sample"):
        mr.metrics.apc(net, {1: none})


def test_other_classes_and_inner_tensors_are_refused() -> None:
    net = small()
    with pytest.raises(mr.InvalidData, match="class 2"):
        mr.metrics.apc(net, {2: mr.fit(net, X, 1).attribute(X)})
    with pytest.raises(mr.InvalidData, match="'relu'"):
        mr.metrics.apc(net, {1: mr.fit(net, X, 1, at="relu").attribute(X)})
    with pytest.raises(mr.InvalidData, match="no class"):
        mr.metrics.apc(net, {})
