"""DeepLIFT against a sweep with its rules written out, against captum, and its completeness."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from tests.backends import PICKS, backend, on_drawn_backend, picked, relative_error
from tests.methods.recorded import Case, residual
from tests.networks import Network, graphs
from tests.oracles.autograd import Twin, apply_op
from tests.oracles.backward import jacobian_product, one_hot, swept
from tests.oracles.forward import pool_switches
from tests.oracles.spec import LRN, Activation, Array, MaxPool, Op

SMALL = float(np.finfo(np.float64).eps) ** (2 / 3)


def divided(gained: Array, x: Array, reference: Array, otherwise: Array) -> Array:
    difference = x - reference
    lost = np.abs(difference) <= SMALL * np.maximum(np.abs(x), np.abs(reference))
    return np.where(lost, otherwise, gained / np.where(lost, 1.0, difference))


def pooled(op: MaxPool, signal: Array, x: Array, reference: Array) -> Array:
    """Each window's change shared out to its winners, by loops."""
    gained, plain = np.zeros(x.shape), np.zeros(x.shape)
    won, before = pool_switches(op, x), pool_switches(op, reference)
    for n, c in product(range(len(x)), range(x.shape[1])):
        here, there = x[n, c].ravel(), reference[0, c].ravel()
        to, also = gained[n, c].reshape(-1), plain[n, c].reshape(-1)
        for j in np.ndindex(*signal.shape[2:]):
            s, i, k = signal[(n, c, *j)], won[(n, c, *j)], before[(0, c, *j)]
            larger = max(here[i], there[k])
            to[i] += s * (larger - there[k])
            to[k] += s * (here[i] - larger)
            also[i] += s
    return divided(gained, x, reference, plain)


def expected(case: Case, start: Array) -> dict[str, Array]:
    # In one batch, as the last bit of an activation may depend on its size.
    both = case.values(np.concatenate([case.x, start[None]]).astype(np.float32))
    values, before = ({name: v[rows] for name, v in both.items()} for rows in (slice(5), slice(5, 6)))

    def special(op: Op, signal: Array) -> list[Array] | None:
        x, reference = values[op.inputs[0]], before[op.inputs[0]]
        if isinstance(op, MaxPool):
            return [pooled(op, signal, x, reference)]
        if isinstance(op, LRN):
            nodes, weights = np.polynomial.legendre.leggauss(30)
            points = [reference + 0.5 * (1 + node) * (x - reference) for node in nodes]
            parts = zip(points, weights, strict=True)
            return [sum(0.5 * w * jacobian_product(op, [point], signal)[0] for point, w in parts)]  # type: ignore[list-item]
        if isinstance(op, Activation):
            after, prior = (np.asarray(apply_op(op, [torch.tensor(a)], torch.relu)) for a in (x, reference))
            slope = jacobian_product(op, [x], np.ones(x.shape))[0]
            return [signal * divided(after - prior, x, reference, slope)]
        return None

    multipliers = swept(case.network.ops, values, one_hot(case.targets, case.net.classes), special)
    return {name: m * (values[name] - before[name]) for name, m in multipliers.items()}


@on_drawn_backend
@settings(max_examples=60, derandomize=True)
@given(network=graphs(), pick=PICKS, seed=st.integers(0, 50))
def test_equals_the_rules_written_out(network: Network, names: tuple[str, ...], pick: int, seed: int) -> None:
    """At every tensor; the sums agree with the change of the logit but for the rounding of the forward pass."""
    case, device = Case.of(network, seed), backend(picked(names, pick))
    start = np.random.default_rng(seed).standard_normal(network.input_shape)
    wanted = expected(case, start)
    for name in case.net.shapes:
        res = mr.attribute(case.net, case.x, case.targets, "deeplift", at=name, backend=device, baseline=start)
        assert relative_error(res.attribution, wanted[name]) < 1e-8, name
        assert not res.multiplier
    whole = mr.attribute(case.net, case.x, case.targets, "deeplift", backend=device, baseline=start)
    assert whole.delta is not None
    assert np.abs(whole.delta).max() <= 1e-4 * (
        1 + np.abs(whole.attribution).sum(axis=1).max() + np.abs(whole.output).max()
    )


@pytest.mark.parametrize("zero", [True, False])
def test_equals_captum(zero: bool) -> None:
    """Within the rounding of the forward pass in single precision."""
    import captum.attr

    case = Case.of(residual(), 0)
    start = np.zeros((2, 6, 6)) if zero else np.random.default_rng(5).standard_normal((2, 6, 6)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = captum.attr.DeepLift(Twin(case.network.ops))
        wanted = theirs.attribute(
            torch.tensor(case.x), torch.tensor(start[None].astype(np.float64)), torch.tensor(case.targets)
        )
    res = mr.attribute(case.net, case.x, case.targets, "deeplift", baseline=None if zero else start)
    assert relative_error(res.attribution, wanted.detach().numpy()) < 1e-5
    assert res.delta is not None
    assert np.abs(res.delta).max() < 1e-5
    # A gradient times the difference is not complete.
    gradient = mr.attribute(case.net, case.x, case.targets, "gradient").attribution * (case.x - start)
    gained = res.attribution.reshape(5, -1).sum(axis=1) - res.delta
    assert np.abs(gradient.reshape(5, -1).sum(axis=1) - gained).max() > 1e-2


def test_single_precision() -> None:
    case = Case.of(residual(), 0)
    single, double = (mr.attribute(case.net, case.x, 1, "deeplift", dtype=kind) for kind in ("float32", "float64"))
    assert relative_error(single.attribution, double.attribution) < 1e-3
    assert single.delta is not None
    assert single.delta.dtype == np.float32
