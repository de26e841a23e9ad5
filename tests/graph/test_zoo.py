"""Graphs nobody here drew: those that the onnx wheel carries."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, version_converter

import mipin_ref as mr
from benchmarks import seeded_zoo as zoo
from mipin_ref.graph.fold import FOLDABLE
from mipin_ref.graph.forward import logits
from mipin_ref.graph.ops import HANDLERS
from mipin_ref.graph.verify import verify
from tests.graph.sketch import assert_consistent, assert_keeps_values

# Their weights, 240 to 574 MB, are run once and only to the end.
HEAVY = ("bvlc_alexnet", "zfnet512", "vgg19")
LIGHT = [name for name in zoo.names() if name not in HEAVY]
KIND = {"Sum": "Add", "Gemm": "Dense"} | {
    op: op for op in ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Transpose")
}
"""ONNX operator -> the kind of layer that each of its nodes becomes in these networks."""


def assert_layers_of(net: mr.Network, model: ModelProto) -> None:
    """One layer a node that is neither folded nor removed, and no constant left that has a place in a neighbour."""
    layers = Counter(layer.kind for layer in net.layers)
    nodes = Counter(node.op_type for node in model.graph.node)
    assert {kind: layers[kind] for kind in KIND.values()} == {kind: nodes[op] for op, kind in KIND.items()}
    assert (layers["Activation"], layers["ResponseNorm"]) == (nodes["Relu"], nodes["LRN"])
    assert layers["Pad"] == layers["Slice"] == 0
    assert net.head == ("softmax" if nodes["Softmax"] else None)
    assert net.classes == 1000


def test_nine_networks() -> None:
    assert len(LIGHT) == 6
    assert set(zoo.names()) == {*LIGHT, *HEAVY}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_light_zoo(name: str) -> None:
    """Every tensor that stays has onnxruntime's value, the file's batch of one is free, and the values are alive."""
    model = zoo.seeded(name)
    net = assert_keeps_values(model, batch=1)
    assert_layers_of(net, model)
    affines = Counter(layer.kind for layer in net.layers)["Affine"]
    # DenseNet normalises what it has joined, before the Relu: its 62 batch norms there have no neighbour to fold into.
    assert affines == (62 if name == "densenet121" else 0)
    x = np.random.default_rng(2).standard_normal((2, *net.input_shape)).astype(np.float32)
    scores = logits(net, x)
    assert 0.1 < scores.std() < 1000
    assert np.abs(scores[0] - scores[1]).max() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_heavy_zoo(name: str) -> None:
    model = zoo.seeded(name)
    net = mr.load(model, check=False)
    assert_consistent(net)
    assert_layers_of(net, model)
    assert verify(net, model) < 1e-6


def test_seeded_weights_are_those_of_their_seed() -> None:
    first, again, other = (zoo.seeded("squeezenet", seed).SerializeToString() for seed in (3, 3, 4))
    assert first == again
    assert first != other


# --- small graphs -----------------------------------------------------------------------------------------------------

SMALL = [
    path
    for kind in ("pytorch-converted", "pytorch-operator", "simple")
    for path in sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / kind).glob("*/*.onnx"))
]


def outcome(model: ModelProto) -> str:
    """The first output: loading compares its values, a refusal must name each operator without a handler."""
    try:
        mr.load(model, output=model.graph.output[0].name)
    except mr.UnsupportedModel as error:
        odd = {node.op_type for node in model.graph.node if node.op_type not in {*HANDLERS, *FOLDABLE}}
        named = {entry.split(" ")[0] for entry in error.nodes}
        return "unsupported" if not error.nodes or odd <= named else f"leaves out {odd - named}"
    except mr.MipinError as error:
        return type(error).__name__
    return "loaded"


def old(model: ModelProto) -> bool:
    return any(opset.version < 9 for opset in model.opset_import if not opset.domain)


def test_exported_operators() -> None:
    """Each reads, or is refused for a reason: no other exception. Most are opset 6, which is too old."""
    models = [onnx.load(path) for path in SMALL]
    outcomes = Counter(outcome(model) for model in models)
    print(dict(outcomes), sum(map(old, models)), "too old")
    assert outcomes.total() == len(SMALL) >= 140
    assert outcomes["loaded"] >= 4
    assert set(outcomes) == {"loaded", "unsupported"}


def test_exported_operators_in_a_newer_opset() -> None:
    outcomes: Counter[str] = Counter()
    for model in map(onnx.load, SMALL):
        if old(model):
            newer = version_converter.convert_version(model, 13)
            newer.ir_version = 8
            outcomes[outcome(newer)] += 1
    print(dict(outcomes))
    assert outcomes.total() >= 112
    # A Sigmoid alone is a head in front of which there is nothing.
    assert outcomes["loaded"] >= 65
    assert set(outcomes) == {"loaded", "unsupported"}
