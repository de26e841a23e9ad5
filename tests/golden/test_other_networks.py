"""Cases of one's own networks: made, made anew, and recomputed from the format's page by the other implementation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.errors import CorruptFile
from mipin_ref.golden.case import write_case
from tests.golden.independent import Case, Independent
from tests.networks import attention, norms
from tests.networks.gated import GATED
from tests.oracles.export import to_onnx
from tests.oracles.spec import Op

STAGES = {"forward", "solve", "propagate", "end"}


def made(folder: Path, ops: Sequence[Op], shape: tuple[int, ...], **options: Any) -> mr.golden.Case:
    (folder / "model.onnx").write_bytes(to_onnx(ops, shape).SerializeToString())
    x = np.random.default_rng(1).standard_normal((9, *shape)).astype(np.float32)
    return mr.golden.make(folder / "model.onnx", x, 1, folder / "case", **options)


def agrees(case: mr.golden.Case, dtype: Any) -> None:
    torch.set_num_threads(1)
    again = mr.golden.remake(case.folder)
    assert again.ok, str(again)
    candidate = Independent(Case(case.folder, dtype)).candidate()
    verified = mr.golden.verify(case, {name: array.numpy() for name, array in candidate.items()})
    assert verified.ok, str(verified)
    assert set(verified.compared) == STAGES


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", attention.EVERY)
def test_norms_and_channels_that_are_last(name: str, dtype: Any, tmp_path: Path) -> None:
    agrees(made(tmp_path, attention.EVERY[name](), norms.SHAPE), dtype)


@pytest.mark.slow
@pytest.mark.parametrize("name", GATED)
def test_gates_and_activations_written_out(name: str, tmp_path: Path) -> None:
    network = GATED[name](3)
    agrees(made(tmp_path, network.ops, network.input_shape, conv_bias=True), torch.float64)


def test_the_manifest_names_the_axis_of_channels_that_are_last(tmp_path: Path) -> None:
    case = made(tmp_path, norms.NETWORKS["channels_last"](), norms.SHAPE)
    axes = {step["tensor"]: step["axis"] for step in case.manifest["steps"] if "axis" in step}
    assert set(axes.values()) == {3}
    for stage in case.manifest["stages"]:
        for entry in stage["tensors"]:
            if entry["name"].split("/")[1] in ("value", "prediction", "S") and entry["tensor"] in axes:
                assert entry["axes"] == ["sample", "axis 1", "axis 2", "channel"]
            if entry["name"].startswith("solve/intercept/") and entry["tensor"] in axes:
                shape = next(step["shape"] for step in case.manifest["steps"] if step["tensor"] == entry["tensor"])
                assert entry["shape"] == shape[-1:]


def drawn(nodes: list[onnx.NodeProto], output: list[int], **weights: np.ndarray) -> bytes:
    """A file that reads x [N, 2, 4, 4] and makes y [N, *output]."""
    kept = [
        numpy_helper.from_array(value.astype(np.float32 if value.dtype.kind == "f" else np.int64), name)
        for name, value in weights.items()
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *output])
    graph = helper.make_graph(nodes, "drawn", [x], [y], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    content: bytes = model.SerializeToString()
    return content


def two_parts() -> bytes:
    """Scores [N, 5, 3, 3] joined of two and three maps."""
    rng, node = np.random.default_rng(2), helper.make_node
    weights = {
        f"w{i}": rng.standard_normal(shape) for i, shape in enumerate(((3, 2, 2, 2), (2, 3, 1, 1), (3, 3, 1, 1)))
    }
    nodes = [
        node("Conv", ["x", "w0"], ["mixed"]),
        node("Relu", ["mixed"], ["fired"]),
        node("Conv", ["fired", "w1"], ["first"]),
        node("Conv", ["fired", "w2"], ["second"]),
        node("Concat", ["first", "second"], ["y"], axis=1),
    ]
    return drawn(nodes, [5, 3, 3], **weights)


def test_a_target_in_a_part_of_an_output_of_several_axes(tmp_path: Path) -> None:
    """The part alone is in the case; labels mean classes of the whole output."""
    (tmp_path / "model.onnx").write_bytes(two_parts())
    net = mr.load(tmp_path / "model.onnx")
    x = np.random.default_rng(3).standard_normal((24, 2, 4, 4)).astype(np.float32)
    target = (3, 1, 0)
    labels = np.where(np.arange(24) % 3 > 0, net.check_target(target), 7)
    options: dict[str, Any] = {"labels": labels, "fit_on": "target_class"}
    case = mr.golden.make(tmp_path / "model.onnx", x, target, tmp_path / "case", **options)
    assert case.manifest["model"]["target"] == [3, 1, 0]
    assert case.manifest["fit_samples"] == 16
    inputs = {name for layer in case.manifest["layers"] for name in layer["inputs"]}
    assert "second" in inputs
    assert "first" not in inputs
    found = mr.fit(net, x, target, **options).attribute(x)
    assert found.output == pytest.approx(case.golden(next(t for t in case.tensors if t.name == "end/output")))
    assert mr.golden.verify(case, {"end/S": found.source, "end/A": found.attribution, "end/output": found.output}).ok
    assert mr.golden.remake(case.folder).ok


def test_a_gate_of_nodes_without_an_inverse(tmp_path: Path) -> None:
    """The content is made of the input by layers, its gate by a running sum: the case starts from both."""
    rng, node = np.random.default_rng(4), helper.make_node
    weights = {"w0": rng.standard_normal((2, 2, 1, 1)), "w1": rng.standard_normal((32, 3)), "axis": np.array(3)}
    nodes = [
        node("Conv", ["x", "w0"], ["content"]),
        node("CumSum", ["x", "axis"], ["running"]),
        node("Sigmoid", ["running"], ["gate"]),
        node("Mul", ["content", "gate"], ["gated"]),
        node("Flatten", ["gated"], ["flat"]),
        node("MatMul", ["flat", "w1"], ["y"]),
    ]
    (tmp_path / "model.onnx").write_bytes(drawn(nodes, [3], **weights))
    x = rng.standard_normal((9, 2, 4, 4)).astype(np.float32)
    case = mr.golden.make(tmp_path / "model.onnx", x, 1, tmp_path / "case", at="content")
    given = case.given("source/running")
    assert given is not None
    np.testing.assert_allclose(given, np.cumsum(x, axis=3), rtol=1e-5, atol=1e-6)
    agrees(case, torch.float64)


def test_a_case_without_the_values_that_its_layers_start_from(tmp_path: Path) -> None:
    folder = next(path for path in mr.golden.cases() if path.parent.name == "golden_frontier")
    case = mr.golden.read_case(folder)
    (tmp_path / "model.onnx").write_bytes(case.model.read_bytes())
    manifest = dict(case.manifest)
    manifest["given"] = [entry for entry in manifest["given"] if entry["name"] != "source/summed"]
    write_case(tmp_path / "golden", manifest, case.arrays)
    with pytest.raises(CorruptFile, match="has no values of 'summed', which layers start from"):
        mr.golden.remake(tmp_path / "golden")
