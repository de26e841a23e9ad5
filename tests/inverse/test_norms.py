"""Normalisations, Dense on tokens and means over some axes against brute force: S and A at every tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.golden.regenerate import remake
from mipin_ref.graph.forward import Recorder
from mipin_ref.inverse.plan import plan_for
from tests.backends import NAMES, backend, relative_error
from tests.networks.norms import NETWORKS, SHAPE
from tests.oracles.export import to_onnx
from tests.oracles.forward import forward
from tests.oracles.mipin import mipin
from tests.oracles.spec import Activation, Add, Conv, Dense, Op, Reshape, TokenDense

TOLERANCE = 1e-8
"""Relative to the largest value of the tensor, in float64: systems are conditioned below 1e7, as the ridge sees to."""


def agrees(ops: Sequence[Op], name: str, **options: Any) -> None:
    x = np.random.default_rng(1).standard_normal((24, *SHAPE)).astype(np.float32)
    net = mr.load(to_onnx(ops, SHAPE))
    # The oracle's own forward pass is in double precision, and S is compared to more digits than single has.
    values = Recorder(net, list(net.shapes))(x).values
    own = forward(ops, x.astype(np.float64))
    # What the reader adds between has no name in the file.
    assert own.keys() <= values.keys()
    for tensor, value in own.items():
        assert relative_error(values[tensor], value) < 1e-5, tensor
    expected = mipin(ops, x, 1, values=values, **options)
    device = backend(name)
    inverse = mr.fit(net, x, 1, backend=device, **options)
    for step in (step for step in inverse.plan.steps if step.tensor in own):
        asked = replace(inverse.options, at=None if step.tensor == net.input else step.tensor)
        found = replace(inverse, plan=plan_for(net, asked, 1)).attribute(x)
        error = relative_error(found.source, expected.source[step.tensor])
        assert error < TOLERANCE, f"S at {step.tensor}: {error:.1e}"
        error = relative_error(found.attribution, expected.attribution[step.tensor])
        assert error < TOLERANCE, f"A at {step.tensor}: {error:.1e}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", NETWORKS)
def test_signals_are_those_of_brute_force(made: str, name: str) -> None:
    agrees(NETWORKS[made](), name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", [one for one in NETWORKS if one != "partial_means"])
def test_what_a_norm_divided_by_comes_back(made: str, name: str) -> None:
    """Option `norm` "sigma": sigma ⊙ S and sigma ⊙ A in place of S and A."""
    agrees(NETWORKS[made](), name, norm="sigma")


@pytest.mark.parametrize("options", [{"conv_bias": True}, {"local": False}, {"ridge": 10.0}])
def test_what_a_norm_divided_by_comes_back_with_other_options(options: dict[str, Any]) -> None:
    for made in ("convnext", "group_norms"):
        agrees(NETWORKS[made](), "numpy", norm="sigma", **options)


def test_readers_that_disagree_on_the_channels_are_refused() -> None:
    """A Conv has them on axis 1, a Dense on tokens on the last."""
    one, two = (np.eye(5) for _ in range(2))
    ops: list[Op] = [
        Conv(("x",), "c", np.ones((3, 3, 1, 1)) / 3),
        Activation(("c",), "r", "Relu"),
        Conv(("r",), "left", np.ones((3, 3, 1, 1))),
        TokenDense(("r",), "right", one + two, np.zeros(5), 3),
        Add(("left", "right"), "sum"),
        Reshape(("sum",), "flat", (75,)),
        Dense(("flat",), "y", np.ones((75, 3))),
    ]
    x = np.random.default_rng(1).standard_normal((6, *SHAPE)).astype(np.float32)
    net = mr.load(to_onnx(ops, SHAPE))
    told = "the readers of tensor 'r' disagree on its channels: Conv 'left' has them on axis 1, TokenDense .* on axis 3"
    with pytest.raises(mr.UnsupportedModel, match=told):
        mr.fit(net, x, 1)
    assert mr.fit(net, x, 1, at="sum").attribute(x).attribution.shape == (6, *SHAPE)


def test_logits_of_several_axes_that_a_normalisation_makes() -> None:
    """As the hidden states of a language model: the target is one feature of one token."""
    ops = NETWORKS["mixer"]()
    (last,) = (at for at, op in enumerate(ops) if op.output == "normed")
    net = mr.load(to_onnx(ops[: last + 1], SHAPE))
    x = np.random.default_rng(1).standard_normal((9, *SHAPE)).astype(np.float32)
    found = mr.fit(net, x, (7, 2)).attribute(x)
    np.testing.assert_array_equal(found.output, Recorder(net, ["normed"])(x).values["normed"][:, 7, 2])
    assert np.abs(found.attribution).max() > 0


@pytest.mark.parametrize("made", ["channels_last", "group_norms"])
def test_with_an_intercept_everywhere(made: str) -> None:
    agrees(NETWORKS[made](), "numpy", conv_bias=True)


def test_the_norm_of_a_division_by_it_comes_back() -> None:
    """L2 normalisation in operators: the regressor is ‖x‖ · S, in closed form at the tensor that is divided."""
    rng = np.random.default_rng(4)
    constants = {"w": rng.normal(size=(5, 6)), "v": rng.normal(size=(6, 3)), "axes": np.array([1]), "least": 1e-6}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ReduceL2", ["h", "axes"], ["size"], keepdims=1),
        helper.make_node("Max", ["size", "least"], ["bounded"]),
        helper.make_node("Div", ["h", "bounded"], ["n"]),
        helper.make_node("MatMul", ["n", "v"], ["y"]),
    ]
    stored = [
        numpy_helper.from_array(np.asarray(value, np.int64 if name == "axes" else np.float32), name)
        for name, value in constants.items()
    ]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", n])] for name, n in (("x", 5), ("y", 3))]
    graph = helper.make_graph(nodes, "g", ends[0], ends[1], stored)
    net = mr.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    x = rng.normal(size=(20, 5)).astype(np.float32)
    inv = mr.fit(net, x, 1, norm="sigma", ridge=0.5)
    h = Recorder(net, ["h"])(x).values["h"].astype(np.float64)
    above = inv.attribute(x, at="n").source
    expected = np.empty_like(h)
    for c in range(6):
        regressor = np.sqrt(np.sum(h**2, axis=1)) * above[:, c]
        centred, wanted = regressor - regressor.mean(), h[:, c] - h[:, c].mean()
        weight = centred @ wanted / (centred @ centred + 0.5)
        expected[:, c] = weight * centred + h[:, c].mean()
    # Some hundred sums of products in double precision.
    np.testing.assert_allclose(inv.attribute(x, at="h").source, expected, rtol=0, atol=1e-11)


def test_a_golden_case_of_the_option(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(to_onnx(NETWORKS["over_channels_first"](), SHAPE).SerializeToString())
    x = np.random.default_rng(1).standard_normal((9, *SHAPE)).astype(np.float32)
    case = mr.golden.make(file, x, 1, tmp_path / "case", norm="sigma")
    assert case.manifest["options"]["norm"] == "sigma"
    assert remake(tmp_path / "case").ok
    case = mr.golden.make(file, x, 1, tmp_path / "case")
    assert "norm" not in case.manifest["options"]
