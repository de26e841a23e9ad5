"""The other methods on what changes the grid or picks from it: autograd, the matrix form, sums, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.backends import EPS, relative_error
from tests.methods.recorded import Case
from tests.methods.test_gradient import TOLERANCE
from tests.methods.test_relevance import expected_rule, seed
from tests.networks import Network, random_graph, sample_inputs, seeded, to_onnx
from tests.networks.geometry_stages import GEOMETRY_STAGES
from tests.oracles.autograd import gradients
from tests.oracles.relevance import relevance
from tests.oracles.spec import ConvTranspose, Dense, Op, Reshape, Resize

KINDS = {"ConvTranspose", "Resize", "Gather", "Where"}


def drawn(number: int) -> Network:
    return random_graph(seeded(number), stages=GEOMETRY_STAGES)


def test_gradients_equal_autograd() -> None:
    reached: set[str] = set()
    for number in range(40):
        case = Case.of(drawn(number), number)
        values = case.values()
        expected = gradients(case.network.ops, values, case.targets)
        for name in (case.net.input, case.net.layers[len(case.net.layers) // 2].output):
            res = mr.attribute(case.net, case.x, case.targets, "gradient", at=name)
            assert relative_error(res.attribution, expected[name]) < TOLERANCE, (number, name)
        reached.update(layer.kind for layer in case.net.layers)
    assert reached >= KINDS


def test_lrp_epsilon_equals_the_matrix_form() -> None:
    reached: set[str] = set()
    for number in range(25):
        network = drawn(number)
        net = mr.load(to_onnx(network.ops, network.input_shape))
        x = sample_inputs(network.input_shape, 2, number)
        values = Case(network, net, x, np.zeros(2, np.int64)).values()
        rule, by = expected_rule("lrp-epsilon", network.ops, {"epsilon": 0.05})
        targets = np.array([0, 1])
        expected = relevance(network.ops, values, seed(values[net.logits].reshape(2, -1), targets), rule, by)
        scale = max(float(np.max(np.abs(part))) for part in expected.values())
        res = mr.attribute(net, x, targets, "lrp-epsilon", epsilon=0.05)
        assert np.max(np.abs(res.attribution - expected[net.input])) <= 1e6 * EPS * scale, number
        reached.update(layer.kind for layer in net.layers)
    assert reached >= KINDS


def test_deeplift_sums_to_the_difference() -> None:
    """The rescale rule of linear layers is the gradient: what they hand on adds up to what the logit gains."""
    for number in range(12):
        network = drawn(number)
        net = mr.load(to_onnx(network.ops, network.input_shape))
        x = sample_inputs(network.input_shape, 3, number).astype(np.float32)
        res = mr.attribute(net, x, 0, "deeplift")
        zeros = Recorder(net, [net.logits])(np.zeros_like(x[:1])).values[net.logits].reshape(1, -1)
        gained = res.output - zeros[0, 0]
        total = res.attribution.reshape(len(x), -1).sum(axis=1)
        np.testing.assert_allclose(total, gained, rtol=1e-4, atol=1e-4 * np.max(np.abs(res.output)) + 1e-5)


REFUSING = ("lrp-alpha-beta", "deep-taylor", "excitation-backprop", "deconvnet", "guided-backprop")


@pytest.mark.parametrize("name", REFUSING)
@pytest.mark.parametrize(
    "op", [ConvTranspose(("input",), "odd", np.ones((1, 1, 2, 2))), Resize(("input",), "odd", (4, 4))]
)
def test_methods_made_for_rectifiers_refuse_by_name(name: str, op: Op) -> None:
    size = 9 if isinstance(op, ConvTranspose) else 16
    ops = (op, Reshape(("odd",), "flat", (size,)), Dense(("flat",), "y", np.ones((size, 2))))
    net = mr.load(to_onnx(ops, (1, 2, 2)))
    x = np.ones((2, 1, 2, 2), np.float32)
    with pytest.raises(
        mr.UnsupportedModel, match=f"method '{name}' has no rule for layer 'odd' \\({type(op).__name__}\\)"
    ):
        mr.attribute(net, x, 0, name)
