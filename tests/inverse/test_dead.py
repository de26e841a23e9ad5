"""Locations that lead to no target: no signal there, and no rows of the fit; against brute force at every tensor."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.backends import backend, on_every_backend
from tests.inverse.test_graphs import TOLERANCE, assert_agrees
from tests.networks import Network, sample_inputs, to_onnx
from tests.networks.dead import DEAD, Aimed
from tests.oracles.forward import forward
from tests.oracles.mipin import OracleResult, mipin
from tests.oracles.spec import Op, Reshape, Slice, tensor_shapes

SAMPLES = 14
OPTIONS: list[dict[str, Any]] = [{}, {"conv_bias": True, "ridge": 0.1}, {"local": False}]


def aimed(name_of: str) -> tuple[Aimed, np.ndarray]:
    """The first of these networks whose target varies, and samples for it."""
    for seed in range(50):
        made = DEAD[name_of](seed)
        network = made.network
        x = sample_inputs(network.input_shape, SAMPLES, seed)
        output = forward(network.ops, x)[network.ops[-1].output]
        shape = output.shape[1:]
        place = np.ravel_multi_index(made.target, shape) if isinstance(made.target, tuple) else made.target
        if np.ptp(output.reshape(len(x), -1)[:, place]) > 1e-3:
            return made, x
    raise AssertionError("all of these targets are constant")


def flattened(made: Aimed) -> tuple[Network, int]:
    """The network with an output of one axis, and the target's index there."""
    network, target = made
    shape = tensor_shapes(network.ops, network.input_shape)[network.ops[-1].output]
    if isinstance(target, int):
        return network, target
    ops = (*network.ops, Reshape((network.ops[-1].output,), "classes", (prod(shape),)))
    return Network(ops, network.input_shape), int(np.ravel_multi_index(target, shape))


def fitted(made: Aimed, x: np.ndarray, device: Any, **options: Any) -> tuple[mr.Inverse, OracleResult]:
    net = mr.load(to_onnx(made.network.ops, made.network.input_shape))
    single = x.astype(np.float32)
    inv = mr.fit(net, single, made.target, backend=device, **options)
    network, index = flattened(made)
    values = dict(Recorder(net, list(net.shapes))(single).values)
    if network is not made.network:
        values["classes"] = values[made.network.ops[-1].output].reshape(len(x), -1)
    return inv, mipin(network.ops, x, index, values=values, **options)


@on_every_backend
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "conv_bias", "global"])
@pytest.mark.parametrize("name_of", DEAD)
def test_source_and_attribution_at_every_tensor(name: str, name_of: str, options: dict[str, Any]) -> None:
    made, x = aimed(name_of)
    inv, expected = fitted(made, x, backend(name), **options)
    assert any(step.alive is not None for step in inv.plan.steps) or name_of == "own_heads"
    assert assert_agrees(inv, expected, x.astype(np.float32), TOLERANCE) >= 3


@pytest.mark.parametrize("name_of", DEAD)
def test_a_dead_location_has_no_signal_and_is_no_row(name_of: str) -> None:
    made, x = aimed(name_of)
    inv, _ = fitted(made, x, "numpy", local=False)
    for step in (step for step in inv.plan.steps if step.alive is not None):
        found = inv.attribute(x.astype(np.float32), at=step.tensor)
        dead = np.broadcast_to(~step.alive, step.shape)  # type: ignore[operator]
        assert dead.any()
        assert not dead.all()
        assert not found.source[:, dead].any()
        assert not found.attribution[:, dead].any()
        if step.fitted:
            assert inv.report[step.tensor].rows == SAMPLES * len(step.rows or ())


def test_a_row_of_a_token_is_fitted_on_it_alone() -> None:
    """One time step: the fit is that of a Dense on this step's features, in closed form."""
    made, x = aimed("time_step")
    net = mr.load(to_onnx(made.network.ops, made.network.input_shape))
    single = x.astype(np.float32)
    inv = mr.fit(net, single, made.target, ridge=0.1)
    last = inv.plan.fitted[0]
    (index, feature), output = made.target, made.network.ops[-1].output  # type: ignore[misc]
    values = Recorder(net, [last.tensor, output])(single).values
    y, h = values[output][:, index, feature].astype(np.float64), values[last.tensor][:, index].astype(np.float64)
    weight = ((y - y.mean()) @ (h - h.mean(axis=0))) / (np.sum((y - y.mean()) ** 2) + 0.1)
    expected = np.where(h != 0, h.mean(axis=0) + (y - y.mean())[:, None] * weight, 0.0)
    found = inv.attribute(single, at=last.tensor)
    np.testing.assert_allclose(found.source[:, index], expected, rtol=0, atol=1e-11)
    assert not np.delete(found.source, index, axis=1).any()


def test_several_targets_have_their_own_dead_locations() -> None:
    """Pixels in one call are fitted as each by itself."""
    made, x = aimed("pixel")
    net = mr.load(to_onnx(made.network.ops, made.network.input_shape))
    single = x.astype(np.float32)
    targets = [(2, 0, 1), (1, 0, 1), (0, 4, 4)]
    together = mr.fit(net, single, targets)
    for target in targets:
        alone = mr.fit(net, single, target)
        for a, b in ((one.attribute(single) for one in (together[target], alone)),):
            np.testing.assert_allclose(a.source, b.source, rtol=0, atol=1e-12 * np.abs(b.source).max())
            assert np.array_equal(a.attribution == 0, b.attribution == 0)


def test_a_saved_inverse_knows_its_dead_locations(tmp_path: Any) -> None:
    for name_of in ("pixel", "class_token", "own_heads"):
        made, x = aimed(name_of)
        single = x.astype(np.float32)
        inv, _ = fitted(made, x, "numpy")
        inv.save(tmp_path / "a.mipin")
        again = mr.load_inverse(tmp_path / "a.mipin", inv.net)
        assert np.array_equal(again.attribute(single).source, inv.attribute(single).source)


def test_a_tensor_that_leads_to_another_target_alone_is_refused() -> None:
    made, x = aimed("own_heads")
    net = mr.load(to_onnx(made.network.ops, made.network.input_shape))
    hidden = [op.output for op in made.network.ops][3]
    assert mr.fit(net, x.astype(np.float32), 0, at=hidden).plan.explained == hidden
    with pytest.raises(mr.InvalidData, match=f"the target does not depend on tensor '{hidden}'"):
        mr.fit(net, x.astype(np.float32), 1, at=hidden)


@pytest.mark.parametrize("dead", [False, True])
def test_what_a_negative_pad_leaves_out_counts_as_read(dead: bool) -> None:
    """Of a Slice it is dead, in two files that differ in nothing else."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    first = rng.normal(size=(3, 2, 3, 3)).astype(np.float32)
    second = rng.normal(size=(3 * 4 * 3, 2)).astype(np.float32)
    constants = {"w": first, "v": second, "pads": np.array([0, 0, 0, -1, 0, 0, 0, 0])}
    constants |= {"starts": np.array([1]), "ends": np.array([4]), "axes": np.array([3])}
    cut = ("Slice", ["r", "starts", "ends", "axes"]) if dead else ("Pad", ["r", "pads"])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node(*cut, ["part"]),
        helper.make_node("Flatten", ["part"], ["flat"]),
        helper.make_node("MatMul", ["flat", "v"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 4, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])]
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initial)
    net = mr.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    inv = mr.fit(net, rng.normal(size=(9, 2, 4, 4)).astype(np.float32), 0)
    assert (inv.plan.step_of["r"].alive is not None) == dead


def test_a_slice_of_the_spec_is_dead_by_hand() -> None:
    """The oracle itself: of three tokens one is read."""
    from tests.oracles.dead import alive

    ops: list[Op] = [Slice(("x",), "s", (1, 0), (2, 2)), Reshape(("s",), "y", (2,))]
    assert alive(ops, tensor_shapes(ops, (3, 2)), 1)["x"].tolist() == [[False, False], [False, True], [False, False]]


def test_a_golden_case_says_what_is_alive(tmp_path: Any) -> None:
    """It is made, agrees with the fit written out, and is read again."""
    made, x = aimed("pools_beside_a_slice")
    file = tmp_path / "model.onnx"
    file.write_bytes(to_onnx(made.network.ops, made.network.input_shape).SerializeToString())
    case = mr.golden.make(file, x.astype(np.float32), 2, tmp_path / "case")
    inv, _ = fitted(made, x, "numpy")
    told = {step["tensor"]: step.get("alive") for step in case.manifest["steps"]}
    assert told == {
        step.tensor: None if step.alive is None else np.flatnonzero(step.alive[0]).tolist() for step in inv.plan.steps
    }
    assert any(told.values())
