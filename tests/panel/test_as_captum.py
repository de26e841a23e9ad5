"""Inputs and targets as captum's users write them, each against the plain form, and torch against captum itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from tests.graph.sketch import Sketch
from tests.graph.test_targets import grid, samples
from tests.inverse.test_bad_input import X, small

NET = small()


def same(given: mr.Attribution, expected: mr.Attribution) -> None:
    assert isinstance(given, mr.Attribution)
    np.testing.assert_array_equal(given.attribution, expected.attribution)
    np.testing.assert_array_equal(given.target, expected.target)


@pytest.mark.parametrize("method", ["gradient", "mip-in"])
def test_a_tuple_of_one_input_is_that_input(method: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"calibration": X} if method == "mip-in" else {}
    expected = mr.attribute(NET, X, 1, method, **options)
    np.save(tmp_path / "x.npy", X)
    for x in ((X,), (str(tmp_path / "x.npy"),), (X.tolist(),), tuple(X), list(X)):
        same(mr.attribute(NET, x, target=1, method=method, **options), expected)


def test_a_tuple_of_samples_stays_several_samples() -> None:
    """Also of one: it has an axis less than a batch."""
    one = mr.attribute(NET, (X[0],), 1, "gradient")
    assert len(one) == 1
    same(one, mr.attribute(NET, X[:1], 1, "gradient"))
    same(mr.attribute(NET, (X[0], X[1]), 1, "gradient"), mr.attribute(NET, X[:2], 1, "gradient"))


def test_several_inputs_are_refused() -> None:
    with pytest.raises(mr.InvalidData, match="there are 2 inputs, and a network is explained at one of them, 'input'"):
        mr.attribute(NET, (X, X), 1, "gradient")
    with pytest.raises(mr.InvalidData, match="no samples"):
        mr.attribute(NET, (), 1, "gradient")


@pytest.mark.parametrize("target", [1, (1,), np.int64(1), np.array(1), (np.int64(1),), (np.array(1),)])
def test_one_target_for_all(target: Any) -> None:
    res = mr.attribute(NET, X, target, "gradient")
    assert res.target == 1
    same(res, mr.attribute(NET, X, 1, "gradient"))


@pytest.mark.parametrize("wrapped", [tuple, list])
def test_targets_one_a_sample(wrapped: Any) -> None:
    several = np.arange(len(X)) % 3
    expected = mr.attribute(NET, X, several, "gradient")
    same(mr.attribute(NET, X, wrapped([several]) if wrapped is tuple else wrapped(several), "gradient"), expected)
    same(mr.attribute(NET, (X,), ([*map(int, several)],), "gradient"), expected)


def test_a_tuple_of_indices_is_one_target() -> None:
    """As captum has it for outputs of several axes: never one a sample, also where there are as many."""
    sketch = Sketch(2, 4, 6)
    out, _ = grid(sketch)
    net, x = mr.load(sketch.model(out)), samples(3)
    one = mr.attribute(net, (x,), (2, 1, 3), "gradient")
    assert one.target == (2, 1, 3)
    many = mr.attribute(net, x, [(2, 1, 3)] * 3, "gradient")
    np.testing.assert_array_equal(one.attribution, many.attribution)
    np.testing.assert_array_equal(mr.attribute(net, x, ([(2, 1, 3)] * 3,), "gradient").attribution, many.attribution)
    with pytest.raises(mr.InvalidData, match="has 3 indices"):
        mr.attribute(NET, X[:3], (0, 1, 2), "gradient")


@pytest.mark.parametrize("target", [("a",), (None,), (1.5,), "1", ((1, 2), (1, 2)), ([1] * 20, [2] * 20)])
def test_what_is_no_target_is_refused(target: Any) -> None:
    with pytest.raises(mr.InvalidData, match="target"):
        mr.attribute(NET, X, target, "gradient")


@pytest.mark.slow
def test_tensors_of_torch_give_what_captum_gives() -> None:
    import torch
    from captum.attr import Saliency

    from tests.oracles.autograd import Twin
    from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

    rng = np.random.default_rng(1)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((2, 1, 3, 3)), bias=np.zeros(2)),
        Activation(("conv",), "relu", "Relu"),
        Reshape(("relu",), "flat", (32,)),
        Dense(("flat",), "scores", rng.standard_normal((32, 3)), bias=np.array([0.1, 0.2, 0.3])),
    ]
    x, several = torch.tensor(X), torch.arange(len(X)) % 3
    explainer = Saliency(Twin(ops))
    for target in (2, several, torch.tensor(2)):
        (expected,) = explainer.attribute((x.double().requires_grad_(),), target=target, abs=False)
        res = mr.attribute(NET, (x,), target, "gradient")
        np.testing.assert_allclose(res.attribution, expected.detach().numpy(), rtol=0, atol=1e-6)
