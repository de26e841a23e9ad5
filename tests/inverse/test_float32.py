"""dtype="float32" against float64 on data whose signals are of low rank, nearly collinear, large or far from zero.

Either source signal and attribution agree at every tensor to the promise of `mipin_ref.solve.rounding`, or the fit says
in one line that it is made in float64, and is: then they are equal, bit for bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mipin_ref as mr
from mipin_ref.solve.rounding import PROMISE
from tests.backends import backend, on_every_backend, relative_error
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Add, Conv, Dense, GlobalAveragePool, MaxPool, Op, Reshape

Array = npt.NDArray[np.float32]

MNIST = Path(__file__).resolve().parents[2] / "models_onnx" / "mnist_mlp"


def dense(seed: int, widths: tuple[int, ...] = (20, 40, 30, 3)) -> mr.Network:
    rng, ops, last = np.random.default_rng(seed), list[Op](), "input"
    for i, (a, b) in enumerate(pairwise(widths)):
        weight, bias = rng.standard_normal((a, b)) * 1.4 / np.sqrt(a), rng.standard_normal(b) * 0.3
        ops.append(Dense((last,), f"dense{i}", weight, bias))
        last = f"dense{i}"
        if b != widths[-1]:
            ops.append(Activation((last,), f"relu{i}", "Relu"))
            last = f"relu{i}"
    return mr.load(to_onnx(ops, (widths[0],)))


def convolutional(seed: int, *, residual: bool = False, groups: int = 1, pool: bool = False) -> mr.Network:
    rng = np.random.default_rng(seed)

    def conv(source: str, name: str, o: int, m: int, stride: int = 1, groups: int = 1) -> list[Op]:
        weight = rng.standard_normal((o, m // groups, 3, 3)) * 1.4 / np.sqrt(m // groups * 9)
        bias = rng.standard_normal(o) * 0.2
        made = Conv((source,), name, weight, bias, (stride, stride), (1, 1, 1, 1), (), groups)
        return [made, Activation((name,), f"{name}.relu", "Relu")]

    ops = [*conv("input", "first", 8, 2), *conv("first.relu", "second", 8, 8, groups=groups)]
    last = "second.relu"
    if residual:
        ops.append(Add((last, "first.relu"), "sum"))
        last = "sum"
    if pool:
        ops.append(MaxPool((last,), "pool", (2, 2), (2, 2)))
        last = "pool"
    ops += [*conv(last, "third", 16, 8, stride=2), GlobalAveragePool(("third.relu",), "mean")]
    ops += [Reshape(("mean",), "flat", (16,)), Dense(("flat",), "scores", rng.standard_normal((16, 3)), np.ones(3))]
    return mr.load(to_onnx(ops, (2, 10, 10)))


def drawn(seed: int, *shape: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(100 + seed).standard_normal(shape)


def repeated(x: npt.NDArray[np.float64], times: int) -> npt.NDArray[np.float64]:
    return np.concatenate([x] * times)


def collinear(seed: int, apart: float) -> npt.NDArray[np.float64]:
    return drawn(seed, 1000, 3) @ drawn(seed + 50, 3, 20) + apart * drawn(seed + 90, 1000, 20)


VECTORS: dict[str, Callable[[int], npt.NDArray[np.float64]]] = {
    "ordinary": lambda seed: drawn(seed, 1000, 20),
    "thousands": lambda seed: 1e3 * drawn(seed, 1000, 20),
    "12 rows repeated": lambda seed: repeated(drawn(seed, 12, 20), 40),
    "13 large rows repeated": lambda seed: repeated(1e3 * drawn(seed, 13, 20), 50),
    "offset 2e4": lambda seed: 2e4 + drawn(seed, 1000, 20),
    "offset in one column": lambda seed: drawn(seed, 1000, 20) + 2e4 * (np.arange(20) == 3),
    "collinear": lambda seed: collinear(seed, 0.1),
    "more collinear": lambda seed: collinear(seed, 1e-4),
    "large and collinear": lambda seed: 1e3 * collinear(seed, 1e-3),
    "few large rows": lambda seed: 1e3 * repeated(drawn(seed, 12, 20), 2),
}

MAPS: dict[str, Callable[[int], npt.NDArray[np.float64]]] = {
    "ordinary": lambda seed: drawn(seed, 100, 2, 10, 10),
    "2 maps repeated": lambda seed: repeated(drawn(seed, 2, 2, 10, 10), 50),
    "2 large maps repeated": lambda seed: repeated(1e3 * drawn(seed, 2, 2, 10, 10), 50),
    "offset 1e3": lambda seed: 1e3 + drawn(seed, 60, 2, 10, 10),
    "nearly constant maps": lambda seed: drawn(seed, 100, 2, 1, 1) + 1e-4 * drawn(seed + 50, 100, 2, 10, 10),
}

NETWORKS: dict[str, Callable[[int], mr.Network]] = {
    "plain": convolutional,
    "residual": lambda seed: convolutional(seed, residual=True),
    "residual with groups and a pool": lambda seed: convolutional(seed, residual=True, groups=2, pool=True),
    "depthwise": lambda seed: convolutional(seed, groups=8),
}


def fitted(net: mr.Network, x: Any, dtype: str, **options: Any) -> tuple[mr.Inverse, list[str]]:
    """The inverse, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = mr.fit(net, x, 1, dtype=dtype, **options)
    assert all(issubclass(one.category, mr.PrecisionWarning) for one in caught)
    return found, [str(one.message) for one in caught]


def furthest(narrow: mr.Inverse, wide: mr.Inverse, x: Array) -> float:
    """The largest difference of S and A at any tensor, of that tensor's largest entry."""
    tensors = [step.tensor for step in wide.plan.steps]
    a, b = narrow.attribute(x, at=tensors), wide.attribute(x, at=tensors)
    return max(
        relative_error(getattr(a[t], which).astype(np.float64), getattr(b[t], which))
        for t in tensors
        for which in ("source", "attribution")
    )


def check(net: mr.Network, given: npt.NDArray[np.float64], *, may_fall_back: bool, **options: Any) -> None:
    x = given.astype(np.float32)
    (wide, _), (narrow, told) = fitted(net, x, "float64", **options), fitted(net, x, "float32", **options)
    seen = np.concatenate([x[:50], x[:20] + np.float32(0.1 * x.std()) * drawn(7, *x[:20].shape).astype(np.float32)])
    if told:
        assert may_fall_back, told
        assert len(told) == 1
        assert "float64" in told[0]
        assert "\n" not in told[0]
        assert narrow.options.dtype == "float64"
        assert furthest(narrow, wide, seen) == 0
    else:
        assert narrow.options.dtype == "float32"
        assert furthest(narrow, wide, seen) < PROMISE


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", VECTORS)
def test_dense(kind: str, seed: int) -> None:
    check(dense(seed), VECTORS[kind](seed), may_fall_back=kind not in ("ordinary", "thousands"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("conv_bias", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", MAPS)
def test_convolutions(kind: str, network: str, conv_bias: bool, seed: int) -> None:
    # Of the network with a pool ordinary maps leave a tensor near the limit.
    well = kind == "ordinary" and "pool" not in network
    check(NETWORKS[network](seed), MAPS[kind](seed), may_fall_back=not well, conv_bias=conv_bias)


def digits(count: int) -> npt.NDArray[np.float64]:
    with np.load(MNIST / "calibration.npz", allow_pickle=False) as arrays:
        x: npt.NDArray[np.float64] = arrays["x"][:count].reshape(-1, 1, 28, 28) / 255.0
    return x


def test_digits() -> None:
    net = mr.load(MNIST / "model.onnx")
    check(net, digits(2000), may_fall_back=False)
    check(net, repeated(digits(20), 50), may_fall_back=True)
    check(net, digits(600), may_fall_back=True)


@on_every_backend
def test_every_backend_falls_back(name: str) -> None:
    x = VECTORS["12 rows repeated"](0).astype(np.float32)
    wide, _ = fitted(dense(0), x, "float64", backend=backend(name))
    narrow, told = fitted(dense(0), x, "float32", backend=backend(name, "float32"))
    assert len(told) == 1
    assert narrow.attribute(x).source.dtype == np.float64
    assert furthest(narrow, wide, x[:20]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ordinary", "12 rows repeated", "collinear"])
def test_the_decision_does_not_depend_on_the_batch_size(kind: str) -> None:
    x = VECTORS[kind](0).astype(np.float32)
    told = [fitted(dense(0), x, "float32", batch_size=size)[1] for size in (1, 7, 100, 1000)]
    assert {bool(one) for one in told} == {kind != "ordinary"}


def test_a_fit_that_fell_back_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    x = VECTORS["12 rows repeated"](0).astype(np.float32)
    wide, _ = fitted(dense(0), x, "float64")
    for _ in range(2):
        narrow, told = fitted(dense(0), x, "float32", checkpoint=tmp_path)
        assert len(told) == 1
        assert furthest(narrow, wide, x[:20]) == 0


def test_a_file_says_float64(tmp_path: Path) -> None:
    x, net = VECTORS["12 rows repeated"](0).astype(np.float32), dense(0)
    narrow, _ = fitted(net, x, "float32")
    narrow.save(tmp_path / "one.mipin")
    back = mr.load_inverse(tmp_path / "one.mipin", net)
    assert back.options.dtype == "float64"
    assert np.array_equal(back.attribute(x).source, narrow.attribute(x).source)
