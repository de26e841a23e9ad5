"""What a fit and its application refuse, each in one sentence, before numbers could come out wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from tests.backends import backend, on_every_backend, relative_error
from tests.networks import onnx_values, to_onnx
from tests.oracles.mipin import mipin
from tests.oracles.spec import Activation, Add, Conv, Dense, GlobalAveragePool, Op, Reshape

X = np.random.default_rng(0).standard_normal((20, 1, 6, 6)).astype(np.float32)


def small(bias: float = 0.0, last: float = 1.0) -> mr.Network:
    """Conv -> Relu -> Dense with 3 classes; a very negative bias kills the Relu, last = 0 makes the logits constant."""
    rng = np.random.default_rng(1)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((2, 1, 3, 3)), bias=np.full(2, bias)),
        Activation(("conv",), "relu", "Relu"),
        Reshape(("relu",), "flat", (32,)),
        Dense(("flat",), "scores", last * rng.standard_normal((32, 3)), bias=np.array([0.1, 0.2, 0.3])),
    ]
    return mr.load(to_onnx(ops, (1, 6, 6)))


def with_value(value: float) -> np.ndarray:
    x = X.copy()
    x[13, 0, 2, 2] = value
    return x


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (X[:0], {}, "holds no samples"),
        (X[:1], {}, "at least 2 calibration samples; there are 1"),
        (X[:, 0, :5], {}, r"takes \[N, 1, 6, 6\]"),
        (X.reshape(20, 36), {}, r"takes \[N, 1, 6, 6\]"),
        (with_value(np.nan), {}, "NaN or Inf"),
        (with_value(np.inf), {"batch_size": 4}, r"samples 12\.\.15, hold NaN or Inf"),
        (with_value(3e38), {}, "activation .* NaN or Inf"),
        ((X * 100).astype(np.uint8), {}, "255"),
        (X.astype(np.int64), {}, "int64"),
        (X + 1j, {}, "complex"),
        (np.repeat(X[:1], 20, axis=0), {}, "for every calibration sample: there is nothing to invert"),
        (42, {}, "int"),
        (X, {"target": 3}, r"target 3 is out of range: output 'scores' has classes 0\.\.2"),
        (X, {"target": -1}, "out of range"),
        (X, {"target": 1.5}, "target"),
        (X, {"target": np.array(1)}, "target must be an integer"),
        (X, {"target": True}, "target must be an integer"),
        (X, {"target": []}, "one or more distinct classes"),
        (X, {"target": [1, 1]}, "one or more distinct classes"),
        (X, {"ridge": -1.0}, "ridge must be a number >= 0"),
        (X, {"ridge": float("nan")}, "ridge must be a number >= 0"),
        (X, {"ridge": 0, "dtype": "float32"}, "needs dtype 'float64'"),
        (X, {"input_mask": 1}, "input_mask must be"),
        (X, {"at": 5}, "a tensor is named by a string, not by 5"),
        (X, {"at": "conv", "target": 7}, "out of range"),
        (X, {"labels": [[1], [2, 3]]}, "labels must be integers"),
        (X, {"fit_on": "some"}, "fit_on must be"),
        (X, {"dtype": "float16"}, "dtype must be"),
        (X, {"backend": "jax"}, "backend must be"),
        (X, {"memory": "lots"}, "memory must look like"),
        (X, {"memory": "1MB"}, "below the 64 MB"),
        (X, {"batch_size": 0}, "batch_size"),
        (X, {"at": "rely"}, "did you mean 'relu'"),
        (X, {"at": "scores"}, "holds the logits"),
        (X, {"labels": np.zeros(7, int)}, "7 labels for 20 samples"),
        (X, {"labels": np.zeros(20)}, "labels must be integers"),
        (X, {"labels": np.full(20, 9)}, "labels run from 9 to 9"),
        (X, {"labels": np.zeros(20, int), "fit_on": "target_class"}, "leaves 0 calibration samples of class 1"),
        (X, {"labels": np.arange(20) // 19, "fit_on": "target_class"}, "leaves 1 calibration samples of class 1"),
    ],
)
def test_refused(x: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(mr.InvalidData, match=message) as refused:
        mr.fit(small(), x, **{"target": 1, **options})
    assert "\n" not in str(refused.value)


@on_every_backend
def test_a_dead_layer_is_named(name: str) -> None:
    with pytest.raises(mr.InvalidData, match="and all activations of tensor 'relu' are zero"):
        mr.fit(small(bias=-1e4), X, 1, backend=backend(name))


@on_every_backend
def test_a_constant_logit_is_refused(name: str) -> None:
    with pytest.raises(mr.InvalidData, match=r"logit 1 is 0\.2 for every calibration sample: there is nothing"):
        mr.fit(small(last=0.0), X, 1, backend=backend(name))


def test_nothing_to_fit_is_refused() -> None:
    ops: list[Op] = [
        Dense(("input",), "scores", np.ones((36, 3))),
        Activation(("scores",), "chances", "Tanh"),
    ]
    net = mr.load(to_onnx(ops, (36,)))
    with pytest.raises(mr.InvalidData, match="no layer with weights stands between tensor 'scores' and the target"):
        mr.fit(net, X.reshape(20, 36), 1, at="scores")


def test_numpy_numbers_are_numbers() -> None:
    expected = mr.fit(small(), X, 1, ridge=0.5, batch_size=4).attribute(X).source
    found = mr.fit(small(), X, np.int64(1), ridge=np.float32(0.5), batch_size=np.int64(4))  # type: ignore[call-overload]
    assert np.array_equal(found.attribute(X).source, expected)


def test_a_map_needs_an_index_an_axis() -> None:
    net = mr.load(to_onnx([Conv(("input",), "map", np.ones((2, 1, 3, 3)))], (1, 6, 6)))
    with pytest.raises(mr.InvalidData, match=r"target 1 has 1 indices; output 'map' \[N, 2×4×4\] needs 3"):
        mr.fit(net, X, 1)


def test_cupy_without_cupy_or_gpu() -> None:
    with pytest.raises(mr.BackendUnavailable, match="cupy"):
        mr.fit(small(), X, 1, backend="cupy")


def test_memory_too_small_for_the_sums() -> None:
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Dense(("input",), "hidden", rng.standard_normal((4, 3000)).astype(np.float32)),
        Dense(("hidden",), "scores", rng.standard_normal((3000, 2)).astype(np.float32)),
    ]
    net = mr.load(to_onnx(ops, (4,)))
    x = rng.standard_normal((5000, 4)).astype(np.float32)
    with pytest.raises(mr.InvalidData, match=r"memory of 0\.1 GB is too small: the sums of tensor 'input' take"):
        mr.fit(net, x, 0, memory="100MB")


@on_every_backend
@pytest.mark.parametrize(
    ("x", "message"),
    [(X[:, 0], "takes"), (with_value(np.nan), "NaN"), (X.astype(np.int8), "int8"), (X[:0], "no samples")],
)
def test_attribute_refuses_likewise(name: str, x: Any, message: str) -> None:
    with pytest.raises(mr.InvalidData, match=message):
        mr.fit(small(), X, 1, backend=backend(name)).attribute(x)


@on_every_backend
def test_read_only_and_foreign_order_data_are_fine_and_untouched(name: str) -> None:
    net = small()
    expected = mr.fit(net, X, 1, backend=backend(name)).attribute(X).source
    frozen = np.asfortranarray(X)
    frozen.flags.writeable = False
    found = mr.fit(net, frozen, 1, backend=backend(name)).attribute(frozen).source
    assert np.array_equal(found, expected)


def test_a_memory_map_is_read_batch_by_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    net = small()
    expected = mr.fit(net, X, 1, batch_size=7).attribute(X).source
    assert np.array_equal(mr.fit(net, tmp_path / "x.npy", 1, batch_size=7).attribute(X).source, expected)

    class Counting:
        longest = 0

        def __len__(self) -> int:
            return len(X)

        @property
        def shape(self) -> tuple[int, ...]:
            return X.shape

        @property
        def dtype(self) -> np.dtype[Any]:
            return X.dtype

        def __getitem__(self, index: Any) -> Any:
            self.longest = max(self.longest, len(X[index]))
            return X[index]

    counting = Counting()
    mr.fit(net, counting, 1, batch_size=7)
    assert counting.longest == 7


@on_every_backend
def test_float64_data_for_a_float32_network(name: str) -> None:
    net = small()
    a, b = (mr.fit(net, x, 1, backend=backend(name)).attribute(x) for x in (X, X.astype(np.float64)))
    assert np.array_equal(a.source, b.source)


def branching() -> tuple[list[Op], mr.Network]:
    """A tensor that a Conv reads, and a Dense behind a Flatten."""
    rng = np.random.default_rng(2)
    ops: list[Op] = [
        Conv(("input",), "stem", rng.standard_normal((2, 1, 3, 3))),
        Activation(("stem",), "fired", "Relu"),
        Conv(("fired",), "deep", rng.standard_normal((3, 2, 2, 2)) / 4),
        GlobalAveragePool(("deep",), "mean"),
        Reshape(("mean",), "first", (3,)),
        Reshape(("fired",), "flat", (32,)),
        Dense(("flat",), "second", rng.standard_normal((32, 3)) / 8),
        Add(("first", "second"), "scores"),
    ]
    return ops, mr.load(to_onnx(ops, (1, 6, 6)))


@on_every_backend
def test_a_conv_and_a_dense_behind_a_flatten_are_joint(name: str) -> None:
    """A Dense reads features and a Conv a map, so one of them stands behind a Reshape, whose own signal is fitted."""
    ops, net = branching()
    inv = mr.fit(net, X, 0, backend=backend(name))
    assert inv.report["fired"].block == "joint, conv + Reshape"
    expected = mipin(ops, X, 0, forward=lambda d: onnx_values(ops, d))
    res = inv.attribute(X, at="fired")
    assert relative_error(res.source, expected.source["fired"]) < 1e-8
    assert relative_error(res.attribution, expected.attribution["fired"]) < 1e-8


def test_tensors_that_are_not_on_the_way() -> None:
    _, net = branching()
    with pytest.raises(mr.InvalidData, match=r"'fird' is not on the way .* did you mean 'fired'"):
        mr.fit(net, X, 0, at="fird")
    with pytest.raises(mr.InvalidData, match="'scores' holds the logits"):
        mr.fit(net, X, 0, at="scores")
    inv = mr.fit(net, X, 0, at="fired")
    with pytest.raises(mr.InvalidData, match=r"'fird' is not on the way .* did you mean 'fired'"):
        inv.attribute(X, at="fird")
    for beyond in ("input", "stem", "scores"):
        with pytest.raises(mr.InvalidData, match=f"'{beyond}' is not between the logits and 'fired'"):
            inv.attribute(X, at=["fired", beyond])
