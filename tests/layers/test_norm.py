"""A normalisation on arrays: its value against onnxruntime's of its own nodes, its gradients against autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.layers import Divisor, Norm
from tests.backends import NAMES, backend, relative_error
from tests.layers.made_up import network

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(3)
SHAPE = (4, 3, 5)
DIVISORS = {
    "deviation": Divisor(factor=1 / 15, epsilon=0.1),
    "unbiased": Divisor(factor=1 / 14, offset=0.2),
    "norm": Divisor(epsilon=0.3),
    "norm with a floor": Divisor(floor=4.0),
    "all at once": Divisor(factor=0.2, epsilon=0.3, floor=1.0, offset=0.1),
    "absolute": Divisor(order=1, factor=0.5),
    "absolute with a floor": Divisor(order=1, floor=12.0, epsilon=0.1, offset=0.3),
}
PARTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "last axes": (SHAPE, (2, 3)),
    "first axis": (SHAPE, (1,)),
    "groups": ((2, 2, 3, 5), (2, 3, 4)),
    "rows": ((2, 30), (2,)),
}


def norm(divisor: str, parts: str, *, centred: bool, dtype: Any = np.float32) -> Norm:
    split, over = PARTS[parts]
    scale, shift = RNG.random((4, 1, 1)) + 0.5, RNG.standard_normal((1, 1, 5))
    return Norm(
        name="odd",
        inputs=("t",),
        output="u",
        in_shapes=(SHAPE,),
        out_shape=SHAPE,
        split=split,
        over=over,
        centred=centred,
        axis=1,
        scale=scale.astype(dtype),
        shift=shift.astype(dtype),
        divisor=DIVISORS[divisor],
    )


def twin(layer: Norm, x: Any, *, detached: bool = False) -> Any:
    """The same in torch."""
    one = layer.divisor
    z = x.reshape(len(x), *layer.split)
    z = z - z.mean(dim=layer.over, keepdim=True) if layer.centred else z
    size = (z.abs() if one.order == 1 else z**2).sum(dim=layer.over, keepdim=True) * one.factor + one.epsilon
    root = size if one.order == 1 else size.sqrt()
    root = root.clamp(min=one.floor) + one.offset
    normed = (z / (root.detach() if detached else root)).reshape(x.shape)
    return normed * torch.tensor(layer.scale) + torch.tensor(layer.shift)


X = RNG.standard_normal((6, *SHAPE))


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("divisor", DIVISORS)
def test_value_and_gradients(divisor: str, parts: str, centred: bool) -> None:
    layer = norm(divisor, parts, centred=centred, dtype=np.float64)
    signal = RNG.standard_normal(X.shape)
    x = torch.tensor(X, requires_grad=True)
    expected = twin(layer, x)
    (true,) = torch.autograd.grad(expected, x, torch.tensor(signal))
    (constant,) = torch.autograd.grad(twin(layer, x, detached=True), x, torch.tensor(signal))
    for name in NAMES:
        device = backend(name)
        put, get = device.put, device.get
        # A few hundred roundings, of which the largest are as large as the values.
        assert relative_error(get(layer.forward(device, [put(X)])), expected.detach().numpy()) < 1e-13, name
        assert relative_error(get(layer.adjoint(device, put(X), put(signal))), true.numpy()) < 1e-12, name
        assert relative_error(get(layer.linear_adjoint(device, put(X), put(signal))), constant.numpy()) < 1e-12, name


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("divisor", DIVISORS)
def test_its_nodes_compute_the_same(divisor: str, parts: str, centred: bool) -> None:
    layer = norm(divisor, parts, centred=centred)
    net: mr.Network = network(layer)
    x = X.astype(np.float32)
    found = Recorder(net, ["u"])(x).values["u"]
    assert relative_error(found, layer.forward(backend("numpy"), [x.astype(np.float64)])) < 2e-6


def test_where_the_floor_holds_it_is_a_constant() -> None:
    """Samples so small that no divisor is above it: the gradient is that of the linear map."""
    layer, device = norm("norm with a floor", "groups", centred=True, dtype=np.float64), backend("numpy")
    signal = RNG.standard_normal(X.shape)
    one, other = layer.adjoint(device, X / 100, signal), layer.linear_adjoint(device, X / 100, signal)
    np.testing.assert_array_equal(one, other)


def test_zeros_without_an_epsilon() -> None:
    """The floor alone is left of a norm of nothing: zero, as is its share."""
    layer, device = norm("norm with a floor", "last axes", centred=False, dtype=np.float64), backend("numpy")
    zero = np.zeros((2, *SHAPE))
    assert np.isfinite(layer.adjoint(device, zero, zero + 1)).all()


@pytest.mark.parametrize(
    ("divisor", "parts", "centred", "told"),
    [
        ("deviation", "last axes", True, "mean and deviation of axes 2, 3, channels on axis 1"),
        ("norm", "first axis", False, "norm 2 of axes 1, channels on axis 1"),
        ("absolute", "rows", False, "norm 1 of 2 groups, channels on axis 1"),
    ],
)
def test_it_is_described(divisor: str, parts: str, centred: bool, told: str) -> None:
    assert norm(divisor, parts, centred=centred).describe() == told
