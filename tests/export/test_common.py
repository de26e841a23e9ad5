"""Explainers of many classes that share an inverse from some tensor down: what is shared lies there once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from mipin_ref.graph.document import halved
from tests.export.running import Array, assert_exact, expected, outputs
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

CLASSES = 12


def network(channels: int = 4) -> tuple[mr.Network, Array]:
    """Two convolutions and two Dense layers, of twelve classes."""
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "conv0", rng.standard_normal((channels, 2, 3, 3)) / 4),
        Activation(("conv0",), "relu0", "Relu"),
        Conv(("relu0",), "conv1", rng.standard_normal((channels, channels, 3, 3)) / 6),
        Activation(("conv1",), "relu1", "Relu"),
        Reshape(("relu1",), "flat", (16 * channels,)),
        Dense(("flat",), "hidden", rng.standard_normal((16 * channels, 20)) / 8),
        Activation(("hidden",), "fired", "Relu"),
        Dense(("fired",), "scores", rng.standard_normal((20, CLASSES)) / 4),
    ]
    return mr.load(to_onnx(ops, (2, 8, 8))), rng.standard_normal((40, 2, 8, 8)).astype(np.float32)


def told(path: Path) -> dict[str, Any]:
    return {one.key: one.value for one in onnx.load(path).metadata_props}


@pytest.mark.parametrize("samples", [40, 8], ids=["fitted", "fitted when asked for"])
def test_each_class_of_a_family(samples: int, tmp_path: Path) -> None:
    """As the inverses of the file tell, read class by class; few samples are kept in the place of weights."""
    net, x = network()
    family: Any = mr.fit(net, x[:samples], "all", common="relu1", ridge=1.0)
    family.save(tmp_path / "all.mipin")
    path = tmp_path / "explainer.onnx"
    made = mr.export(mr.load_inverse(tmp_path / "all.mipin", net), path, check=x[:4])
    assert made.exact.error < 1e-5
    for target in range(CLASSES):
        feed = {"input": x[:4], "target": np.array(target, np.int64)}
        assert_exact(outputs(path, feed), expected(family[target], x[:4]))
    common = json.loads(told(path)["mipin.common"])
    assert (common["tensor"], common["agreement"]) == ("relu1", None)


def test_what_is_shared_is_stored_once(tmp_path: Path) -> None:
    net, x = network()
    family: Any = mr.fit(net, x, "all", common="relu1", ridge=1.0)
    path = tmp_path / "explainer.onnx"
    mr.export(family, path, check=x[:4])
    weights = family[0].weights
    shared = sum(weights[name].unknowns for name in ("relu0", "input"))
    own = sum(weights[name].unknowns for name in weights) - shared
    network_alone = sum(layer.parameters for layer in net.layers)
    held = sum(int(np.prod(one.dims)) for one in onnx.load(path).graph.initializer if one.data_type == 1)
    # Attributions have zeros in the place of intercepts; beside weights there are the targets, and single numbers.
    zeros = sum(one.intercept.size for one in weights.values() if one.intercept is not None)
    least = network_alone + shared + CLASSES * own
    assert least <= held <= least + zeros + CLASSES + 20


def test_half_leaves_logits_and_masks_as_they_are(tmp_path: Path) -> None:
    """Weights of the way back have 11 bits: each step adds 2⁻¹¹ of the size of its terms, and nothing flips."""
    net, x = network(8)
    family: Any = mr.fit(net, x, "all", common="relu1", ridge=1.0)
    whole, half = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    sizes = [mr.export(family, path, at="relu0", half=path is half, check=x[:4]).bytes for path in (whole, half)]
    assert sizes[1] < 0.7 * sizes[0]
    for target in (0, 7):
        feed = {"input": x, "target": np.array(target, np.int64)}
        a, b = outputs(whole, feed), outputs(half, feed)
        for name in ("logits", "logit"):
            assert np.array_equal(a[name], b[name])
        for name in ("source", "attribution", "contribution", "map"):
            # Sums over channels may cancel, and a map has their positive part.
            assert name == "map" or np.array_equal(a[name] == 0, b[name] == 0), name
            # Three steps; terms of a sum are larger than it, by 4 at the most here.
            assert np.abs(a[name] - b[name]).max() <= 3 * 4 * 2.0**-11 * np.abs(a[name]).max(), name
    said = json.loads(told(half)["mipin.agreement"])
    assert 1e-6 < said["exact"]["error"] < 6e-3


@pytest.mark.parametrize("scale", [1e-12, 1e-5, 1.0, 1e9])
def test_half_precision_of_any_size(scale: float) -> None:
    """Eleven bits of every number down to a 2²⁹th of the largest, whatever that is."""
    array = (scale * np.geomspace(1, 2.0**-28, 100) * np.resize([1, -1], 100)).astype(np.float32)
    stored, factor = halved(array)
    assert np.abs(stored.astype(np.float64) * factor / array - 1).max() <= 2.0**-11
    assert np.log2(factor) == np.round(np.log2(factor))
    zeros, one = halved(np.zeros(3, np.float32))
    assert not zeros.any()
    assert one == 1
