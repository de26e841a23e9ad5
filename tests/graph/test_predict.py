"""Probabilities of a network: by the head of its file, or the softmax; what they are asked of is checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from tests.graph.rewrites.ended import Array, Ended, X, run
from tests.oracles.heads import probabilities


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
