"""Batches coalesced before they are summed: the same sums, in fewer and larger pieces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.inverse.passes import budget, fitter
from mipin_ref.inverse.passes.budget import coalesced_samples
from mipin_ref.inverse.passes.coalesced import Coalesced, Values
from mipin_ref.inverse.passes.problem import Problem, Sums
from mipin_ref.inverse.plan import make_plan
from mipin_ref.layers import MaxPool
from tests.backends import backend, on_every_backend
from tests.inverse.passes.test_resume import X, chain
from tests.inverse.test_graphs import loaded


@on_every_backend
@pytest.mark.parametrize("size", [0, 1, 7, 8, 20, 45, 1000])
def test_samples_come_in_order_and_in_pieces_of_at_least_so_many(
    name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, net = backend(name), chain()
    plan = make_plan(net, at=None, local=True, input_mask=None)
    step = next(step for step in plan.fitted if step.tensor == "relu1")
    seen: list[tuple[Any, ...]] = []
    original = Sums.update

    def update(sums: Sums, signals: Any, taps: Any, x: Any, **counted: bool) -> None:
        seen.append((*(device.get(signals[n]) for n in step.reads), device.get(x)))
        original(sums, signals, taps, x, **counted)

    monkeypatch.setattr(Sums, "update", update)
    rng = np.random.default_rng(0)
    s = [rng.standard_normal((45, *net.shapes[n])) for n in step.reads]
    x = rng.standard_normal((45, *step.shape))
    problem = Problem(device, step, False, 45)
    coalesced, plain = Coalesced(problem.sums(), size, Values(problem.backend)), problem.sums()
    for start in range(0, 45, 4):
        rows = slice(start, start + 4)
        signals = {n: device.put(a[rows]) for n, a in zip(step.reads, s, strict=True)}
        coalesced.update(signals | {"other": device.put(x[:1])}, {}, device.put(x[rows]))
        original(plain, signals, {}, device.put(x[rows]))
    found, _ = coalesced.finished().solve(0.1)
    expected, _ = plain.solve(0.1)
    pieces = [len(piece[-1]) for piece in seen]
    assert all(piece >= min(size, 45) for piece in pieces[:-1])
    assert all(piece < max(size, 1) + 4 for piece in pieces)
    for number, whole in enumerate((*s, x)):
        assert np.array_equal(np.concatenate([piece[number] for piece in seen]), whole)
    # Sums of 45 samples in another order: 1e4 eps of the largest weight.
    assert np.max(np.abs(found.blocks[0] - expected.blocks[0])) < 2e-12 * np.max(np.abs(expected.blocks[0]))


@pytest.mark.parametrize("fit_on", ["all", "target_class"])
@pytest.mark.parametrize("seed", [None, 25, 36])
def test_a_fit_that_coalesces_agrees_with_one_that_does_not(
    seed: int | None, fit_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several targets, samples that do not count; max-pools beside other ways, whose taps are coalesced too."""
    options: dict[str, Any] = {"target": [0, 2], "ridge": 1.0, "fit_on": fit_on, "labels": np.arange(45) % 3}
    net, x = (chain(), X) if seed is None else loaded(seed, 45)[1:]
    plan = make_plan(net, at=None, local=True, input_mask=None)
    pools = [b.layer for step in plan.fitted for b in step.own if isinstance(b.layer, MaxPool)]
    assert bool(pools) == (seed is not None)
    original = budget.make_budget
    rooms = {"pieces": 0}

    def narrow(*given: Any) -> budget.Budget:
        return replace(original(*given), batch_size=4)

    def update(sums: Sums, *given: Any, **counted: Any) -> None:
        rooms["pieces"] += sums.problem.step.dense
        original_update(sums, *given, **counted)

    original_update = Sums.update
    monkeypatch.setattr(Sums, "update", update)
    plain = mr.fit(net, x, **options, batch_size=4)
    many = rooms["pieces"]
    monkeypatch.setattr(fitter, "make_budget", narrow)
    monkeypatch.setattr(budget, "COALESCED", 10)
    coalesced = mr.fit(net, x, **options)
    assert rooms["pieces"] - many < 0.6 * many
    for target, inv in coalesced.items():
        assert inv.samples == plain[target].samples
        a, b = inv.attribute(x), plain[target].attribute(x)
        # Sums in another order, at conditions of 1e3: 4e6 eps.
        assert np.max(np.abs(a.source - b.source)) < 1e-9 * np.max(np.abs(b.source))


def test_what_is_coalesced_fits_twice_into_its_room() -> None:
    net = chain()
    plan = make_plan(net, at=None, local=True, input_mask=None)
    wave = [plan.fitted[-1]]
    (read,) = wave[0].reads
    elements = int(np.prod(net.shapes[read])) + int(np.prod(net.shapes["input"]))
    for count in (1, 5, 900):
        assert coalesced_samples(net.shapes, wave, 3, 2 * 3 * 8 * elements * count, 8) == count
    assert coalesced_samples(net.shapes, wave, 3, 10**12, 8) == 1024
    assert coalesced_samples(net.shapes, wave, 3, 0, 8) == 0
