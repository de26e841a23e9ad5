"""Patterns against all rows in memory and a case with a closed form, and what the two methods make of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.methods import patterns as module
from mipin_ref.store import PATTERNS
from tests.backends import EPS, NAMES, PICKS, backend, on_drawn_backend, on_every_backend, picked, relative_error
from tests.networks import Network, chains, sample_inputs, to_onnx
from tests.oracles.patterns import numerator, rows_of
from tests.oracles.spec import Activation, Array, AveragePool, ChannelAffine, Conv, Dense, MaxPool, Op, Reshape
from tests.stored import resealed

SAMPLES = 30


def check(network: Network, name: str, seed: int) -> None:
    """For each neuron, a · wᵀ(numerator) is the numerator; a is zero where nothing was seen of it."""
    net = mr.load(to_onnx(network.ops, network.input_shape))
    x = sample_inputs(network.input_shape, SAMPLES, seed)
    # In the same batches: in single precision onnxruntime's exponentials depend on where in a batch they stand.
    recorder = Recorder(net, list(net.shapes))
    parts = [recorder(x[first : first + 7]).values for first in range(0, SAMPLES, 7)]
    values = {key: np.concatenate([part[key] for part in parts]).astype(np.float64) for key in net.shapes}
    found = mr.fit_patterns(net, x, backend=backend(name), batch_size=7)
    ops = {op.output: op for op in network.ops if isinstance(op, Dense | Conv) and op.output in net.shapes}
    kept = {op.output: op for op in network.ops if op.output in net.shapes}
    assert found.weights.keys() == {layer.output for layer in net.layers if layer.kind in ("Dense", "Conv")}
    assert found.weights.keys() <= ops.keys()
    for output, a in found.weights.items():
        op = ops[output]
        readers = [other for other in kept.values() if output in map(net.tensor, other.inputs)]
        rectified = bool(readers) and all(isinstance(other, Activation) for other in readers)
        assert a.shape == op.weight.shape
        for neuron in range(a.shape[1] if isinstance(op, Dense) else a.shape[0]):
            rows, y, w = rows_of(op, values[net.tensor(op.inputs[0])], values[output], neuron)
            expected, own = (
                numerator(rows, y, rectified=rectified),
                a[:, neuron] if isinstance(op, Dense) else a[neuron],
            )
            scale = np.abs(rows).max(initial=0) * np.abs(y).max()
            if np.any(own):
                assert np.max(np.abs(own.reshape(-1) * (w @ expected) - expected)) <= 1e4 * EPS * scale
                assert abs(w @ own.reshape(-1) - 1) < 1e-12 * np.abs(w) @ np.abs(own.reshape(-1))
            else:
                assert abs(w @ expected) <= 1e4 * EPS * scale * np.abs(w).sum()


@on_drawn_backend
@settings(max_examples=40, derandomize=True)
@given(network=chains(), pick=PICKS, seed=st.integers(0, 50))
def test_chains_equal_all_rows_in_memory(network: Network, names: tuple[str, ...], pick: int, seed: int) -> None:
    check(network, picked(names, pick), seed)


@on_every_backend
@pytest.mark.parametrize("seed", range(3))
def test_every_geometry_equals_all_rows_in_memory(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ops: tuple[Op, ...] = (
        Conv(("input",), "c", rng.standard_normal((4, 2, 3, 2)), None, (2, 1), (1, 0, 2, 1), (1, 2)),
        Activation(("c",), "r", "Relu"),
        Conv(("r",), "d", rng.standard_normal((6, 2, 2, 2)), rng.standard_normal(6), groups=2),
        Activation(("d",), "s", "Relu"),
        Reshape(("s",), "f", (6 * 3 * 4,)),
        Dense(("f",), "y", rng.standard_normal((72, 3)), None),
    )
    rounded = tuple(
        type(op)(**{**vars(op), "weight": op.weight.astype(np.float32).astype(float)})
        if isinstance(op, Dense | Conv)
        else op
        for op in ops
    )
    check(Network(rounded, (2, 7, 6)), name, seed)


def haufe(*, rectified: bool) -> mr.Network:
    """w = [1, -1], which takes the distractor ε out of x = y [1, 0] + ε [1, 1]; and -w."""
    w = np.array([[1.0, -1.0], [-1.0, 1.0]])
    ops: tuple[Op, ...] = (Dense(("input",), "y", w, None),)
    if rectified:
        ops = (*ops, Activation(("y",), "r", "Relu"), Dense(("r",), "z", np.eye(2), None))
    return mr.load(to_onnx(ops, (2,)))


@on_every_backend
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("deviation", [0.5, 3.0])
def test_the_pattern_leaves_the_distractor_out(name: str, rectified: bool, deviation: float) -> None:
    """Haufe et al. (2014): the pattern is [1, 0] but for cov(ε, y) of the sample, σ_ε / (σ_y √n); five times that."""
    rng, count = np.random.default_rng(0), 40_000
    y, noise = rng.standard_normal(count), deviation * rng.standard_normal(count)
    x = np.stack([y + noise, noise], axis=1).astype(np.float32)
    pattern = mr.fit_patterns(haufe(rectified=rectified), x, backend=backend(name)).weights["y"]
    seen = count / 2 if rectified else count
    bound = 5 * deviation / np.sqrt(seen)
    assert np.max(np.abs(pattern - np.array([[1.0, -1.0], [0.0, 0.0]]))) < bound


def pooled(seed: int = 0) -> Network:
    """Conv, Relu, MaxPool, Conv, Relu, AveragePool, two Dense."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32).astype(np.float64) / 2

    ops: tuple[Op, ...] = (
        Conv(("input",), "c", normal(4, 2, 3, 3), normal(4)),
        Activation(("c",), "r", "Relu"),
        MaxPool(("r",), "p", (2, 2), (2, 2)),
        Conv(("p",), "d", normal(5, 4, 2, 2), normal(5), pads=(1, 1, 0, 0)),
        Activation(("d",), "s", "Relu"),
        AveragePool(("s",), "a", (2, 2), (2, 2)),
        Reshape(("a",), "f", (20,)),
        Dense(("f",), "h", normal(20, 6), normal(6)),
        Activation(("h",), "k", "Relu"),
        Dense(("k",), "y", normal(6, 3), normal(3)),
    )
    return Network(ops, (2, 10, 10))


@pytest.fixture(scope="module")
def fitted() -> tuple[mr.Network, Array, mr.Patterns]:
    network = pooled()
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), sample_inputs(network.input_shape, 60, 0)
    return net, x, mr.fit_patterns(net, x)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_patterns_do_not_depend_on_batches_or_passes(
    fitted: tuple[mr.Network, Array, mr.Patterns], name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, x, whole = fitted
    monkeypatch.setattr(module, "memory_bytes", lambda memory: 16 * 100)
    assert len(module._passes(module.weighted_layers(net, net.input), 16 * 100)) == 4
    parted = mr.fit_patterns(net, x, backend=backend(name, dtype), dtype=dtype, batch_size=11)
    for output, a in whole.weights.items():
        assert relative_error(parted.weights[output], a) < (1e-11 if dtype == "float64" else 1e-3)


def test_the_sums_of_a_pass_fit_into_their_share_of_the_memory(
    fitted: tuple[mr.Network, Array, mr.Patterns],
) -> None:
    """Twice the weights of a layer, in float64; to the byte."""
    net, _, _ = fitted
    layers = module.weighted_layers(net, net.input)
    sums = [16 * layer.weight.size for layer in layers]
    enough = int((sums[0] + sums[1]) / module.SUMS_SHARE)
    assert module._passes(layers, enough)[0] == layers[:2]
    assert module._passes(layers, enough - 2)[0] == layers[:1]
    assert module._passes(layers, int(sum(sums) / module.SUMS_SHARE)) == [layers]


@on_every_backend
def test_patternnet_on_dense_layers_is_what_is_written(name: str) -> None:
    """s = A₁ (1[h > 0] ⊙ a₂ y_c), relevance with W ⊙ A."""
    rng = np.random.default_rng(0)
    w1, w2 = (rng.standard_normal(s).astype(np.float32).astype(float) for s in ((7, 5), (5, 3)))
    ops = (Dense(("input",), "h", w1), Activation(("h",), "r", "Relu"), Dense(("r",), "y", w2))
    net, x = mr.load(to_onnx(ops, (7,))), sample_inputs((7,), 40, 0)
    p = mr.fit_patterns(net, x)
    targets = np.arange(40) % 3
    mask = Recorder(net, ["h"])(x).values["h"] > 0
    for method, a1, a2 in (
        ("patternnet", p.weights["h"], p.weights["y"]),
        ("pattern-attribution", w1 * p.weights["h"], w2 * p.weights["y"]),
    ):
        res = mr.attribute(net, x, targets, method, patterns=p, backend=backend(name))
        expected = (a2.T[targets] * res.output[:, None] * mask) @ a1.T
        assert relative_error(res.attribution, expected) < 1e3 * EPS
        assert res.contribution is res.attribution
        if method == "patternnet":
            np.testing.assert_array_equal(res.source, res.attribution)
            np.testing.assert_array_equal(res.distractor, res.value - res.source)
        else:
            with pytest.raises(mr.InvalidData, match="no source signal"):
                _ = res.source


@on_every_backend
def test_patterns_of_one_leave_the_gradient(fitted: tuple[mr.Network, Array, mr.Patterns], name: str) -> None:
    """w ⊙ 1 is w: PatternAttribution is then y_c times the gradient."""
    net, x, p = fitted
    ones = mr.Patterns(net, p.at, {key: np.ones_like(a) for key, a in p.weights.items()}, 60)
    for at in ("input", "p", "a"):
        found = mr.attribute(net, x[:5], 1, "pattern-attribution", at=at, patterns=ones, backend=backend(name))
        gradient = mr.attribute(net, x[:5], 1, "gradient", at=at)
        expected = gradient.attribution * found.output.reshape(-1, *(1,) * (gradient.attribution.ndim - 1))
        assert relative_error(found.attribution, expected) < 1e4 * EPS


@on_every_backend
def test_an_average_spreads_and_an_affine_divides(name: str) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 3)).astype(np.float32).astype(float)
    ops = (
        AveragePool(("input",), "a", (2, 2), (2, 2)),
        Activation(("a",), "r", "Relu"),
        ChannelAffine(("r",), "b", np.array([2.0, -0.5]), np.array([0.5, 1.0])),
        Activation(("b",), "s", "Relu"),
        Reshape(("s",), "f", (8,)),
        Dense(("f",), "y", weight),
    )
    net, x = mr.load(to_onnx(ops, (2, 4, 4))), np.abs(sample_inputs((2, 4, 4), 20, 0))
    assert {"AveragePool", "Affine"} <= {layer.kind for layer in net.layers}
    p = mr.fit_patterns(net, x)
    mask = Recorder(net, ["b"])(x).values["b"] > 0
    net_signal, shares = (
        mr.attribute(net, x, 2, method, patterns=p, backend=backend(name)).attribution
        for method in ("patternnet", "pattern-attribution")
    )
    output = mr.attribute(net, x, 2, "gradient").output.astype(float)[:, None, None, None]
    a = p.weights["y"][:, 2].reshape(2, 2, 2)
    signal = a * output * mask / np.array([2.0, -0.5]).reshape(2, 1, 1)
    assert relative_error(net_signal, signal.repeat(2, axis=2).repeat(2, axis=3)) < 1e4 * EPS
    relevance = weight[:, 2].reshape(2, 2, 2) * a * output * mask / 4
    assert relative_error(shares, relevance.repeat(2, axis=2).repeat(2, axis=3)) < 1e4 * EPS


def test_saved_patterns_come_back(fitted: tuple[mr.Network, Array, mr.Patterns], tmp_path: Path) -> None:
    net, x, p = fitted
    path = tmp_path / "p.patterns"
    p.save(path)
    again = mr.load_patterns(path, net)
    assert (again.at, again.samples, list(again.weights)) == (p.at, 60, list(p.weights))
    for output, a in p.weights.items():
        np.testing.assert_array_equal(again.weights[output], a)
    found, expected = (mr.attribute(net, x[:3], 0, "patternnet", patterns=one) for one in (again, p))
    np.testing.assert_array_equal(found.source, expected.source)
    assert os.listdir(tmp_path) == ["p.patterns"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h.update(version=99), "format version 99"),
        (lambda h, t: h.update(model_sha256="0"), "another network"),
        (lambda h, t: h.update(output="x"), "another network"),
        (lambda h, t: h.pop("at"), "incomplete"),
        (lambda h, t: h.update(at="nowhere"), "damaged"),
        (lambda h, t: h.update(samples="x"), "damaged"),
        (lambda h, t: h["layers"].reverse(), "damaged"),
        (lambda h, t: t.pop("0"), "incomplete"),
        (lambda h, t: t["0"].fill(np.nan), "no finite pattern"),
        (lambda h, t: t.update({"0": np.zeros((2, 2))}), "no finite pattern"),
        (lambda h, t: t.update({"0": t["0"].astype(np.float32)}), "no finite pattern"),
    ],
)
def test_a_damaged_file_is_refused(
    fitted: tuple[mr.Network, Array, mr.Patterns], tmp_path: Path, change: Any, message: str
) -> None:
    path = tmp_path / "p.patterns"
    fitted[2].save(path)
    resealed(path, PATTERNS, change)
    with pytest.raises(mr.CorruptFile, match=message):
        mr.load_patterns(path, fitted[0])


def test_what_is_no_file_of_patterns_is_refused(fitted: tuple[mr.Network, Array, mr.Patterns], tmp_path: Path) -> None:
    net, x, p = fitted
    path = tmp_path / "p.patterns"
    with pytest.raises(mr.InvalidData, match="there is no file"):
        mr.load_patterns(path, net)
    p.save(path)
    content = path.read_bytes()
    for length in (0, 9, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(mr.CorruptFile, match="file of patterns"):
            mr.load_patterns(path, net)
    mr.fit(net, x, 1, at="s").save(path)
    with pytest.raises(mr.CorruptFile, match="not a file of patterns"):
        mr.load_patterns(path, net)


def test_patterns_that_do_not_fit_are_refused(fitted: tuple[mr.Network, Array, mr.Patterns]) -> None:
    net, x, p = fitted
    other = pooled(1)
    with pytest.raises(mr.InvalidData, match="it needs patterns"):
        mr.attribute(net, x, 0, "patternnet")
    with pytest.raises(mr.InvalidData, match="another network"):
        mr.attribute(mr.load(to_onnx(other.ops, other.input_shape)), x, 0, "patternnet", patterns=p)
    inner = mr.fit_patterns(net, x, at="p")
    assert list(inner.weights) == ["d", "h", "y"]
    mr.attribute(net, x[:2], 0, "patternnet", at="a", patterns=inner)
    with pytest.raises(mr.InvalidData, match="lead down to 'p'"):
        mr.attribute(net, x, 0, "patternnet", patterns=inner)
    with pytest.raises(mr.InvalidData, match="at least 2"):
        mr.fit_patterns(net, x[:1])
    with pytest.raises(mr.InvalidData, match="the network takes"):
        mr.fit_patterns(net, x[:, :1])
