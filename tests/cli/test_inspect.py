"""`mipin inspect`: the inverse of each layer in few words, and the tensors worth explaining."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.cli import main
from tests.cli.test_explain import residual
from tests.inverse.test_graphs import living_graph
from tests.networks import sample_inputs, to_onnx
from tests.oracles.spec import (
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    Op,
    Reshape,
    Shape,
)

Inspect = Callable[..., tuple[dict[str, str], list[str]]]

MODELS = Path(__file__).parent.parent.parent / "models_onnx"


@pytest.fixture
def inspected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Inspect:
    def inspect(ops: list[Op], shape: Shape, *options: str) -> tuple[dict[str, str], list[str]]:
        """Output tensor -> its row's last column, and the lines of the block that follows."""
        onnx.save(to_onnx(ops, shape), str(tmp_path / "net.onnx"))
        assert main(["inspect", str(tmp_path / "net.onnx"), *options]) == 0
        table, block = capsys.readouterr().out.split("\n\n")
        head, *rows, _ = table.splitlines()
        start, column = head.index("output tensor"), head.index("inverse: unknowns")
        return {row[start:column].strip(): row[column:] for row in rows}, before_next(block).splitlines()

    return inspect


def test_a_residual_network(inspected: Inspect) -> None:
    cells, block = inspected(residual(), (3, 8, 8))
    assert cells == {
        "stem": "adjoint conv, Eq. 7: 108",
        "block": "passes",
        "a": "joint, see 5",
        "inside": "passes",
        "b": "adjoint conv, Eq. 7: 144",
        "sum": "4: passes; 1: joint, conv + Add: 148",
        "pool": "unpooling, Eq. 8",
        "last": "passes",
        "mean": "spread over the map: 8",
        "flat": "passes",
        "scores": "ridge, Eq. 6: 8",
    }
    assert block == [
        "tensors to explain (--at):",
        "  tensor  shape  map",
        "  last    4×4×4  --map attribution",
        "  block   4×8×8  --map attribution",
        "  input   3×8×8  --map contribution",
    ]


def test_several_readers(inspected: Inspect) -> None:
    """Equal branches are counted; what serves a channel alone is named by its layer."""
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "a", rng.standard_normal((2, 2, 1, 1))),
        Conv(("input",), "b", rng.standard_normal((2, 2, 3, 3)), pads=(1, 1, 1, 1)),
        MaxPool(("input",), "c", (3, 3), pads=(1, 1, 1, 1)),
        AveragePool(("input",), "d", (3, 3), pads=(1, 1, 1, 1)),
        Concat(("a", "b", "c", "d"), "all"),
        ChannelAffine(("all",), "varied", rng.random((8, 4, 4)) + 1, rng.random((8, 4, 4))),
        GlobalAveragePool(("varied",), "mean"),
        Reshape(("mean",), "flat", (8,)),
        Dense(("flat",), "hidden", rng.standard_normal((8, 5))),
        Dense(("hidden",), "scores", rng.standard_normal((5, 3))),
    ]
    cells, _ = inspected(ops, (2, 4, 4))
    assert cells["a"] == cells["b"] == cells["c"] == "joint, see 3"
    assert cells["d"] == f"joint, 2 conv + MaxPool + AveragePool: {4 + 36 + 2 + 2 + 2}"
    assert cells["all"] == "passes"
    assert cells["varied"] == "a weight a channel: 16"
    assert cells["hidden"] == f"ridge, Eq. 6: {8 * 5 + 8}"
    assert cells["scores"] == f"ridge, Eq. 6: {5 + 5}"


@pytest.mark.parametrize("seed", range(10))
def test_the_numbers_are_those_of_the_fit(inspected: Inspect, seed: int) -> None:
    """The unknowns told of a class before a fit, all together, and those in the report of its fit.

    What a Concat puts into other logits is no part of a class, so that readers of a tensor may be fewer than of all.
    """
    network = living_graph(seed)
    cells, _ = inspected(list(network.ops), network.input_shape, "--target", "0")
    net = mr.load(to_onnx(network.ops, network.input_shape))
    x = sample_inputs(network.input_shape, 30, seed).astype(np.float32)
    fitted = [row.unknowns for row in mr.fit(net, x, 0, ridge=0.1).report]
    told = re.findall(r": ([0-9,]+)(?:;|$)", "\n".join(cells.values()), re.MULTILINE)
    assert sorted(int(number.replace(",", "")) for number in told) == sorted(fitted)


def before_next(printed: str) -> str:
    """What is printed, up to the line that tells what to do next."""
    lines = printed.splitlines(keepends=True)
    assert lines[-1].startswith("next: mipin explain ")
    return "".join(lines[:-1])


def test_built_in_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(MODELS / "mnist_cnn" / "model.onnx")]) == 0
    assert before_next(capsys.readouterr().out).endswith(
        "tensors to explain (--at):\n"
        "  tensor                   shape     map\n"
        "  /pool1/MaxPool_output_0  64×11×11  --map attribution\n"
        "  /relu1/Relu_output_0     16×24×24  --map attribution\n"
        "  input                    1×28×28   --map contribution\n"
    )
    assert main(["inspect", str(MODELS / "mnist_mlp" / "model.onnx")]) == 0
    assert before_next(capsys.readouterr().out).endswith(
        "  tensor  shape    map\n  input   1×28×28  --map contribution\n"
    )
