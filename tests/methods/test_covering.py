"""RISE, occlusion and Kernel SHAP: against captum, shap, loops and exact Shapley values, by enumeration."""

from __future__ import annotations

from itertools import combinations
from math import ceil, factorial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import LinearConstraint, minimize

import mipin_ref as mr
from mipin_ref.methods.coalitions import ShapleyFit, coalitions
from mipin_ref.methods.rise import Rise, RiseOptions
from tests.methods.recorded import Case, residual
from tests.networks import Network, to_onnx
from tests.oracles.spec import Activation, Array, Dense

EPS = float(np.finfo(np.float32).eps)
CASE = Case.of(residual(), 3, samples=3)


def table(features: int = 7) -> Case:
    """A small network of features: a hidden layer, three classes."""
    rng = np.random.default_rng(1)
    ops = (
        Dense(("input",), "h", rng.standard_normal((features, 9)), rng.standard_normal(9)),
        Activation(("h",), "t", "Tanh"),
        Dense(("t",), "y", rng.standard_normal((9, 3))),
    )
    return Case.of(Network(ops, (features,)), 5)


def logit(case: Case, x: Any) -> Array:
    """The logits [n, classes] in single precision, as the package computes them."""
    return case.net.predict(np.asarray(x, np.float32))[1].astype(np.float64)


def forward(case: Case) -> Any:
    """The network as captum takes it."""
    return lambda x: torch.tensor(logit(case, x.numpy()))


def shapley(case: Case, x: Array, baseline: Array, c: int) -> Array:
    """Exact Shapley values of the features of one sample, by the definition."""
    players = len(x)
    every = np.array([[number >> i & 1 for i in range(players)] for number in range(2**players)], bool)
    worth = dict(zip(map(bytes, every), logit(case, np.where(every, x, baseline))[:, c], strict=True))
    values = np.zeros(players)
    for i in range(players):
        others = [j for j in range(players) if j != i]
        for size in range(players):
            share = factorial(size) * factorial(players - size - 1) / factorial(players)
            for some in combinations(others, size):
                inside = np.zeros(players, bool)
                inside[list(some)] = True
                joined = inside.copy()
                joined[i] = True
                values[i] += share * (worth[bytes(joined)] - worth[bytes(inside)])
    return values


# --- Kernel SHAP ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [1, 2, 3, 4, 7, 10])
def test_with_all_coalitions_they_are_the_shapley_values(features: int) -> None:
    case = table(features)
    baseline = np.random.default_rng(2).standard_normal(features)
    res = mr.attribute(case.net, case.x[:2], case.targets[:2], "kernel-shap", baseline=baseline)
    for n in range(2):
        exact = shapley(case, case.x[n], baseline, int(case.targets[n]))
        # Logits are sums of nine numbers in single precision; a batch of another size rounds them otherwise.
        scale = np.abs(logit(case, case.x[n : n + 1])).max() + 9
        np.testing.assert_allclose(res.attribution[n], exact, rtol=0, atol=16 * EPS * scale)
    assert res.delta is not None
    ends = logit(case, case.x[:2])[np.arange(2), case.targets[:2]] - logit(case, baseline[None])[0, case.targets[:2]]
    np.testing.assert_allclose(res.attribution.sum(axis=1), ends, rtol=0, atol=16 * EPS * 9)
    np.testing.assert_allclose(res.delta, 0, atol=1e-12)


@pytest.mark.parametrize(("players", "budget"), [(5, 30), (9, 100), (12, 60), (12, 1000), (3, 100)])
def test_the_fit_is_the_constrained_one(players: int, budget: int) -> None:
    """Against a minimiser that is told the constraint, with the weights that the fit is given."""
    made = coalitions(players, budget, seed=0)
    rng = np.random.default_rng(3)
    worth, whole, none = rng.standard_normal(len(made.weights)), 1.5, -0.5

    def loss(values: Array) -> float:
        return float(made.weights @ (made.members @ values + none - worth) ** 2)

    def slope(values: Array) -> Array:
        return 2 * made.members.T @ (made.weights * (made.members @ values + none - worth))

    # A curvature that is guessed from slopes divides by their difference, which rounding can make zero.
    curvature = 2 * (made.members.T * made.weights) @ made.members
    held = LinearConstraint(np.ones(players), whole - none, whole - none)
    wanted = minimize(
        loss,
        np.zeros(players),
        jac=slope,
        hess=lambda values: curvature,
        constraints=[held],
        method="trust-constr",
        options={"gtol": 1e-12},
    )
    np.testing.assert_allclose(ShapleyFit(made)(worth, whole, none), wanted.x, atol=1e-5)


@pytest.mark.parametrize(("players", "budget"), [(4, 14), (4, 1000), (9, 510), (11, 400), (40, 2128)])
def test_coalitions(players: int, budget: int) -> None:
    """Each with its counterpart, none with all or no players, each size with the kernel's weight."""
    made = coalitions(players, budget, seed=1)
    sizes = made.members.sum(axis=1)
    assert len(sizes) <= budget
    assert len(sizes) >= min(budget - 1, 2**players - 2)
    assert 1 <= sizes.min() <= sizes.max() <= players - 1
    assert {bytes(one) for one in made.members} == {bytes(~one) for one in made.members}
    kernel = np.array([(players - 1) / (s * (players - s)) for s in range(1, players)])
    kernel /= kernel.sum()
    found = np.array([made.weights[sizes == s].sum() for s in range(1, players)])
    if budget >= 2**players - 2:
        assert len({bytes(one) for one in made.members}) == 2**players - 2
        np.testing.assert_allclose(found, kernel)
        return
    assert made.weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(found[[0, -1]], kernel[[0, -1]])
    # What is drawn is so but for the draw.
    np.testing.assert_allclose(found, kernel, atol=0.05)
    again, other = coalitions(players, budget, seed=1), coalitions(players, budget, seed=2)
    np.testing.assert_array_equal(again.members, made.members)
    assert (other.members != made.members).any()


@pytest.mark.slow
def test_against_shap() -> None:
    """KernelExplainer takes all coalitions of seven features; its logits are asked of the package."""
    shap = pytest.importorskip("shap")
    case = table()
    baseline = np.full((1, 7), 0.3)
    explainer = shap.KernelExplainer(lambda x: logit(case, x), baseline)
    theirs = np.asarray(explainer.shap_values(case.x, nsamples=2**7, silent=True, l1_reg=0))
    ours = mr.attribute(case.net, case.x, case.targets, "kernel-shap", baseline=0.3)
    wanted = theirs[np.arange(len(case.x)), :, case.targets]
    np.testing.assert_allclose(ours.attribution, wanted, rtol=0, atol=32 * EPS * 9)


def test_few_coalitions_come_near() -> None:
    case = table(10)
    exact = shapley(case, case.x[0], np.zeros(10), 1)
    errors = [
        np.abs(mr.attribute(case.net, case.x[:1], 1, "kernel-shap", samples=samples).attribution[0] - exact).max()
        for samples in (20, 200, 1022)
    ]
    assert errors[2] < 1e-5 < errors[1] < errors[0]
    assert errors[1] < 0.1 * np.abs(exact).max()


def test_cells_of_a_picture_are_players() -> None:
    """Against captum's Shapley values, over all orders of four cells."""
    import captum.attr

    x = CASE.x[:1]
    cells = np.arange(6) * 2 // 6
    part = cells[:, None] * 2 + cells[None]
    res = mr.attribute(CASE.net, x, 2, "kernel-shap", segments=2)
    given = mr.attribute(CASE.net, x, 2, "kernel-shap", segments=part * 10 + 3)
    np.testing.assert_array_equal(given.attribution, res.attribution)
    mask = torch.tensor(np.broadcast_to(part, (1, 2, 6, 6)).copy())
    theirs = captum.attr.ShapleyValues(forward(CASE)).attribute(torch.tensor(x), target=2, feature_mask=mask).numpy()
    for number in range(4):
        inside = np.broadcast_to(part == number, res.attribution.shape)
        ours = res.attribution[inside]
        assert np.ptp(ours) == 0, "a part's value is shared equally"
        assert ours.sum() == pytest.approx(theirs[inside][0], abs=32 * EPS)
    assert res.contribution.sum() == pytest.approx(float(res.output[0] - logit(CASE, 0 * x)[0, 2]))


# --- occlusion -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "stride", "baseline"), [(1, 1, None), (3, 2, 0.25), (4, 3, None), (2, 2, -1.0)])
def test_occlusion_is_captums(window: int, stride: int, baseline: float | None) -> None:
    """Windows over all channels, those at the edge cut off; captum gives each channel what we share among them."""
    import captum.attr

    theirs = captum.attr.Occlusion(forward(CASE)).attribute(
        torch.tensor(CASE.x),
        (2, window, window),
        strides=(2, stride, stride),
        baselines=0 if baseline is None else baseline,
        target=torch.tensor(CASE.targets),
    )
    options: dict[str, Any] = {"window": window, "stride": stride, "baseline": baseline}
    ours = mr.attribute(CASE.net, CASE.x, CASE.targets, "occlusion", **options)
    scale = np.abs(logit(CASE, CASE.x)).max() + 1
    np.testing.assert_allclose(2 * ours.attribution, theirs.numpy(), rtol=0, atol=32 * EPS * scale)
    assert np.abs(ours.attribution).max() > 0.01
    assert np.ptp(ours.attribution, axis=1).max() == 0


def test_each_feature_of_a_table_is_covered_alone() -> None:
    import captum.attr

    case = table()
    ours = mr.attribute(case.net, case.x, 1, "occlusion", baseline=np.arange(7.0))
    theirs = captum.attr.FeatureAblation(forward(case)).attribute(
        torch.tensor(case.x), baselines=torch.arange(7.0)[None].double(), target=1
    )
    np.testing.assert_allclose(ours.attribution, theirs.numpy(), rtol=0, atol=32 * EPS * 9)


# --- RISE ----------------------------------------------------------------------------------------------------------


def paper_masks(options: RiseOptions, size: int) -> Array:
    """The paper's masks, drawn as here and grown by torch: [samples, size, size]."""
    rng = np.random.default_rng(options.seed)
    cells = min(options.cells, size)
    width = ceil(size / cells)
    assert width > 1
    grids = rng.random((options.samples, cells, cells)) < options.keep
    offsets = np.stack([rng.integers(width, size=options.samples) for _ in range(2)], axis=1)
    large = F.interpolate(
        torch.tensor(grids[:, None].astype(float)), 2 * ((cells + 1) * width,), mode="bilinear", align_corners=False
    )
    return np.stack([one[0, i : i + size, j : j + size] for one, (i, j) in zip(large.numpy(), offsets, strict=True)])


@pytest.mark.parametrize("baseline", [None, 0.7])
@pytest.mark.parametrize("options", [RiseOptions(40, cells=4), RiseOptions(30, cells=2, keep=0.3, seed=4)])
def test_rise_is_the_papers_sum_but_for_the_mean_score(options: RiseOptions, baseline: float | None) -> None:
    masks = paper_masks(options, 6)
    np.testing.assert_allclose(Rise(options).masks((6, 6), False).kept(np.arange(len(masks))), masks, atol=1e-12)
    given: dict[str, Any] = {
        "samples": options.samples,
        "cells": options.cells,
        "keep": options.keep,
        "seed": options.seed,
    }
    ours = mr.attribute(CASE.net, CASE.x, CASE.targets, "rise", baseline=baseline, **given)
    for n, c in enumerate(CASE.targets):
        total, mean = np.zeros((6, 6)), 0.0
        for mask in masks:
            score = logit(CASE, (CASE.x[n] * mask + (baseline or 0.0) * (1 - mask))[None])[0, c]
            total += score * mask
            mean += score / len(masks)
        wanted = total / masks.sum(axis=0) - mean
        np.testing.assert_allclose(ours.attribution[n].sum(axis=0), wanted, rtol=0, atol=64 * EPS * (abs(mean) + 1))
    assert np.abs(ours.attribution).max() > 0.01


def test_rise_finds_what_a_linear_network_weighs() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 2))
    net = mr.load(to_onnx([Dense(("input",), "y", weight)], (6,)))
    x = rng.standard_normal((1, 6))
    found = mr.attribute(net, x, 0, "rise", samples=20_000, cells=6).attribution[0]
    assert np.corrcoef(found, weight[:, 0] * x[0])[0, 1] > 0.97


# --- what they share -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rise", "occlusion", "kernel-shap"])
def test_seeds_batches_and_memory(name: str) -> None:
    whole = mr.attribute(CASE.net, CASE.x, CASE.targets, name)
    again = mr.attribute(CASE.net, CASE.x, CASE.targets, name)
    np.testing.assert_array_equal(again.attribution, whole.attribution)
    alone = mr.attribute(CASE.net, CASE.x[1:2], int(CASE.targets[1]), name, batch_size=7)
    np.testing.assert_allclose(alone.attribution[0], whole.attribution[1], rtol=0, atol=64 * EPS * 3)
    if name == "occlusion":
        return
    other = mr.attribute(CASE.net, CASE.x, CASE.targets, name, seed=1, samples=100)
    assert (other.attribution != whole.attribution).any()


@pytest.mark.parametrize("name", ["rise", "occlusion", "kernel-shap"])
def test_no_batch_is_larger_than_memory_allows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    scoring = mr.Network.scoring

    def counted(self: mr.Network) -> Any:
        inner = scoring(self)

        def run(x: Array, first: int) -> Any:
            seen.append(len(x))
            return inner(x, first)

        return run

    monkeypatch.setattr(mr.Network, "scoring", counted)
    monkeypatch.setattr("mipin_ref.memory.BATCH_SHARE", 5.5 * (CASE.net.forward_bytes + 4 * 8 * 72) / 2e9)
    mr.attribute(CASE.net, CASE.x, CASE.targets, name)
    assert max(seen) == 5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rise", {"keep": 1.0}, "keep must be between 0 and 1, not 1"),
        ("rise", {"samples": 1}, "samples must be an integer of at least 2"),
        ("rise", {"cells": 0}, "cells must be an integer of at least 1"),
        ("rise", {"baseline": np.ones(3)}, "baseline has shape"),
        ("rise", {"at": "l"}, "method 'rise' needs the forward pass alone and explains the input 'input', not 'l'"),
        ("occlusion", {"window": 2, "stride": 3}, "a stride of 3 leaves places out between windows of 2"),
        ("occlusion", {"window": 1.5}, "window must be an integer"),
        ("kernel-shap", {"samples": 5}, "samples must be at least 72, two for each of the 36 parts"),
        ("kernel-shap", {"segments": np.ones((6, 6))}, "segments must be integers of shape"),
        ("kernel-shap", {"segments": np.ones(6, int)}, "segments must be integers of shape"),
        ("kernel-shap", {"segments": 0}, "segments must be an integer of at least 1"),
    ],
)
def test_refusals(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(mr.InvalidData, match=message):
        mr.attribute(CASE.net, CASE.x, 0, name, **options)


def test_auto_is_the_input() -> None:
    assert mr.attribute(CASE.net, CASE.x, 0, "occlusion", at="auto").tensor == CASE.net.input
