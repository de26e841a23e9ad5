"""Value and derivative of every activation against torch, on every namespace; LRN against autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mipin_ref.layers.activation import FUNCTIONS
from mipin_ref.layers.response_norm import response_norm, response_norm_adjoint
from tests.backends import backend, on_every_backend, relative_error

CASES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "relu": ("Relu", {}, torch.relu),
    "leaky": ("LeakyRelu", {"alpha": 0.2}, lambda x: F.leaky_relu(x, 0.2)),
    "leaky default": ("LeakyRelu", {}, lambda x: F.leaky_relu(x, 0.01)),
    "thresholded": ("ThresholdedRelu", {"alpha": 0.5}, lambda x: F.threshold(x, 0.5, 0.0)),
    "elu": ("Elu", {"alpha": 1.5}, lambda x: F.elu(x, 1.5)),
    "selu": ("Selu", {"alpha": 1.5, "gamma": 2.0}, lambda x: 2 * F.elu(x, 1.5)),
    "celu": ("Celu", {"alpha": 2.0}, lambda x: F.celu(x, 2.0)),
    "tanh": ("Tanh", {}, torch.tanh),
    "softsign": ("Softsign", {}, F.softsign),
    "hard swish": ("HardSwish", {}, F.hardswish),
    "gelu": ("Gelu", {}, F.gelu),
    "gelu, named": ("Gelu", {"approximate": "none"}, F.gelu),
    "gelu, tanh": ("Gelu", {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh")),
    "mish": ("Mish", {}, F.mish),
    "swish": ("Swish", {}, F.silu),
    "swish, alpha": ("Swish", {"alpha": 1.7}, lambda x: x * torch.sigmoid(1.7 * x)),
    "sigmoid": ("Sigmoid", {}, torch.sigmoid),
    "hard sigmoid": ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}, lambda x: F.hardtanh(0.3 * x + 0.4, 0.0, 1.0)),
    "softplus": ("Softplus", {}, F.softplus),
    "clip": ("Clip", {"min": -1.0, "max": 2.0}, lambda x: F.hardtanh(x, -1.0, 2.0)),
    "clip below": ("Clip", {"min": 0.5}, lambda x: F.hardtanh(x, 0.5, torch.inf)),
    "clip above": ("Clip", {"max": 0.5}, lambda x: F.hardtanh(x, -torch.inf, 0.5)),
    "clip not": ("Clip", {}, lambda x: x),
    "erf": ("Erf", {}, torch.erf),
    "exp": ("Exp", {}, torch.exp),
    "log": ("Log", {}, torch.log),
    "sqrt": ("Sqrt", {}, torch.sqrt),
    "abs": ("Abs", {}, torch.abs),
    "sign": ("Sign", {}, lambda x: torch.sign(x) + 0 * x),
    "reciprocal": ("Reciprocal", {}, torch.reciprocal),
    "power": ("Pow", {"exponent": 3.0}, lambda x: x**3),
    "even power": ("Pow", {"exponent": 2.0}, lambda x: x**2),
    "power of zero": ("Pow", {"exponent": 0.0}, torch.ones_like),
    "broken power": ("Pow", {"exponent": 1.5}, lambda x: x**1.5),
    "negative power": ("Pow", {"exponent": -2.0}, lambda x: x**-2),
}
DOMAIN = {
    **dict.fromkeys(("Log", "Sqrt", "broken power"), (1e-3, 800.0)),
    **dict.fromkeys(("Reciprocal", "negative power"), (1e-2, 800.0)),
    **dict.fromkeys(("Exp", "power", "even power"), (-12.0, 12.0)),
}
"""Where a function is asked: it has no value elsewhere, or one too large."""
X = np.concatenate([np.linspace(-12, 12, 2001), [-50.0, -800.0, 50.0, 800.0, 0.0, -1e-9, 1e-9]])


def test_every_activation_that_loads_has_a_case() -> None:
    assert {function for function, _, _ in CASES.values()} == set(FUNCTIONS) - {"PRelu"}


@on_every_backend
@pytest.mark.parametrize("case", CASES)
def test_value_and_derivative_equal_torch(name: str, case: str) -> None:
    function, options, theirs = CASES[case]
    device = backend(name)
    low, high = DOMAIN.get(case, DOMAIN.get(function, (-800.0, 800.0)))
    x = X[(low <= X) & (high >= X)]
    given = torch.tensor(x, requires_grad=True)
    y = theirs(given)
    y = y if y.requires_grad else y + 0 * given
    (slope,) = torch.autograd.grad(y.sum(), given)
    value, derivative = FUNCTIONS[function].pair(device.xp, device.put(x), options)
    for found, wanted in ((value, y.detach().numpy()), (derivative, slope.numpy())):
        assert np.all(np.abs(device.get(found) - wanted) <= 4e-15 * (1 + np.maximum(np.abs(x), np.abs(wanted))))


@pytest.mark.parametrize("case", CASES)
def test_what_the_table_says_of_signs_and_slopes_is_so(case: str) -> None:
    function, options, _ = CASES[case]
    asked = FUNCTIONS[function]
    with np.errstate(all="ignore"):  # beyond where some have a value
        value, derivative = asked.pair(backend("numpy").xp, X, options)
    has = np.isfinite(value)
    if function != "Pow" or options["exponent"] == int(
        options["exponent"]
    ):  # of a fraction nothing but x >= 0 is known
        assert asked.never_negative(options, False) == np.all(value[has] >= 0)
    assert asked.never_negative(options, True) == np.all(value[has & (X >= 0)] >= 0)
    assert asked.keeps_zero(options) == (has[X == 0].all() and np.all(value[X == 0] == 0))
    bounds = asked.passes_between(options)
    if bounds is not None:
        np.testing.assert_array_equal(derivative, (value > bounds[0]) & (value < bounds[1]))


@on_every_backend
def test_prelu(name: str) -> None:
    rng, device = np.random.default_rng(0), backend(name)
    x, slope = rng.standard_normal((3, 4, 5)), rng.standard_normal((4, 1))
    given = torch.tensor(x, requires_grad=True)
    y = F.prelu(given, torch.tensor(slope[:, 0]))
    (wanted,) = torch.autograd.grad(y.sum(), given)
    value, derivative = FUNCTIONS["PRelu"].pair(device.xp, device.put(x), {"slope": device.put(slope)})
    np.testing.assert_allclose(device.get(value), y.detach().numpy(), rtol=1e-15)
    np.testing.assert_allclose(device.get(derivative), wanted.numpy(), rtol=1e-15)


@on_every_backend
@pytest.mark.parametrize(("channels", "size"), [(5, 1), (5, 3), (6, 5), (2, 5), (1, 3), (4, 11)])
def test_response_norm_equals_torch(name: str, channels: int, size: int) -> None:
    rng, device = np.random.default_rng(size), backend(name)
    x, s = rng.standard_normal((3, channels, 4, 2)), rng.standard_normal((3, channels, 4, 2))
    options = {"size": size, "alpha": 0.7, "beta": 0.6, "bias": 1.3}
    given = torch.tensor(x, requires_grad=True)
    y = F.local_response_norm(given, size, 0.7, 0.6, 1.3)
    (wanted,) = torch.autograd.grad(y, given, torch.tensor(s))
    found = device.get(response_norm(device, device.put(x), options))
    assert relative_error(found, y.detach().numpy()) < 1e-15 * 10
    back = device.get(response_norm_adjoint(device, device.put(s), device.put(x), options))
    assert relative_error(back, wanted.numpy()) < 1e-14
