"""The other methods on normalisations, Dense on tokens, attention and means over some axes."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.backends import NAMES, backend, relative_error
from tests.networks.attention import EVERY as NETWORKS
from tests.networks.norms import SHAPE
from tests.oracles.autograd import gradients
from tests.oracles.export import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reduce, Reshape

Array = np.ndarray
TARGETS = np.array([0, 2, 1, 1])
EXACT = 1e-12
"""A share of the largest value, as in test_gradient.py."""

ROUNDED = 1e-4
"""A share of the largest: values are recorded in single precision, so that what a layer hands on is divided by a sum
that is off by 1e-7 of the largest, and some are no larger than 1e-3 of it."""


def case(made: str) -> tuple[list[Op], mr.Network, Array, dict[str, Array]]:
    """A network, four inputs, and the values of all its tensors as they are recorded."""
    ops = NETWORKS[made]()
    net = mr.load(to_onnx(ops, SHAPE))
    x = np.random.default_rng(2).standard_normal((4, *SHAPE)).astype(np.float32)
    values = {name: value.astype(np.float64) for name, value in Recorder(net, list(net.shapes))(x).values.items()}
    return ops, net, x, values


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", NETWORKS)
def test_the_gradient_is_that_of_autograd(made: str, name: str) -> None:
    ops, net, x, values = case(made)
    expected = gradients(ops, values, TARGETS)
    for op in ops:
        at = op.inputs[0]
        found = mr.attribute(net, x, TARGETS, "gradient", at=at, backend=backend(name)).attribution
        assert relative_error(found, expected[at]) < EXACT, at


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", NETWORKS)
def test_lrp_epsilon_is_gradient_times_input_with_divisors_detached(made: str, name: str) -> None:
    """CP-LRP, with gates as constants too; all other layers of these networks that relevance passes are linear between
    their kinks (Ancona et al., 2018).
    """
    ops, net, x, values = case(made)
    expected = gradients(ops, values, TARGETS, detached=True)
    for op in ops:
        at = op.inputs[0]
        if at not in expected:
            with pytest.raises(mr.InvalidData, match="is state"):
                mr.attribute(net, x, TARGETS, "lrp-epsilon", at=at)
            continue
        found = mr.attribute(net, x, TARGETS, "lrp-epsilon", at=at, backend=backend(name), epsilon=1e-10).attribution
        assert relative_error(found, expected[at] * values[at]) < ROUNDED, at


def test_the_constant_divisor_matters() -> None:
    ops, _, _, values = case("convnext")
    true, constant = (gradients(ops, values, TARGETS, detached=one)["x"] for one in (False, True))
    assert relative_error(true, constant) > 0.01


REFUSING = ("lrp-alpha-beta", "deep-taylor", "excitation-backprop", "deconvnet", "guided-backprop", "deeplift")


@pytest.mark.parametrize("method", REFUSING)
def test_what_is_made_for_rectifiers_refuses_a_normalisation_by_name(method: str) -> None:
    _, net, x, _ = case("over_channels_first")
    with pytest.raises(mr.UnsupportedModel, match=rf"method '{method}' has no rule for layer '.+' \(Norm\)"):
        mr.attribute(net, x, 0, method)


def test_patterns_of_a_sum_are_those_of_the_mean() -> None:
    """A sum over n places is n times the mean, which the Dense behind takes back: one function, one signal."""
    found = []
    weight = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32).astype(np.float64)
    for total, factor in ((True, 1 / 32), (False, 1.0)):
        ops: list[Op] = [
            Conv(("x",), "c", np.random.default_rng(1).standard_normal((4, 3, 3, 3)), pads=(1, 1, 1, 1)),
            Activation(("c",), "r", "Relu"),
            Reduce(("r",), "some", (2,), total=total),
            Reduce(("some",), "all", (3,), total=total),
            Reshape(("all",), "flat", (4,)),
            Dense(("flat",), "y", weight * factor),
        ]
        net = mr.load(to_onnx(ops, (3, 4, 8)))
        x = np.random.default_rng(2).standard_normal((30, 3, 4, 8)).astype(np.float32)
        patterns = mr.fit_patterns(net, x)
        found.append(mr.attribute(net, x[:3], 1, "patternnet", at="r", patterns=patterns).attribution)
    # The two networks' values are rounded apart, each in single precision.
    assert relative_error(found[0], found[1]) < 1e-4
