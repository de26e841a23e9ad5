"""Which passes a fit makes: told by plan, budget and what is known alone, without data or a run of the network."""

from __future__ import annotations

import pickle
from dataclasses import replace
from math import prod

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.backend import get_backend
from mipin_ref.graph import forward
from mipin_ref.inverse.passes import row_store, schedule
from mipin_ref.inverse.passes.budget import Budget
from mipin_ref.inverse.passes.row_store import Room
from mipin_ref.inverse.passes.schedule import Known, kept_behind, waves
from mipin_ref.inverse.passes.spec import PassSpec
from mipin_ref.inverse.plan import Plan, make_plan
from tests.inverse.passes.test_passes import deep_network
from tests.inverse.test_against_oracle import living_chain
from tests.inverse.test_graphs import living_graph
from tests.networks import to_onnx

MEMORY = 64 * 10**6
BUDGET = Budget(batch_size=8, coalesced=10**6, signals=10**6, recordings=10**6)
ROOMS = [Room(0), Room(10**9), Room(0, 1e9, 5), Room(20_000, 1e5, 50)]


@pytest.fixture(autouse=True)
def all_that_may_go_to_the_disk_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_store, "DISK", 1e30)


def loaded(seed: int) -> tuple[mr.Network, Plan]:
    network = living_graph(seed) if seed % 2 else living_chain(seed)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    return net, make_plan(net, at=None, local=True, input_mask=None)


def passes(net: mr.Network, plan: Plan, known: Known, room: Room = ROOMS[1], memory: int = MEMORY) -> list[PassSpec]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward, "session", lambda *given: pytest.fail("the network was run"))
        return list(schedule.schedule(plan, net.shapes, get_backend(), memory, BUDGET, room, known))


def behind(known: Known, made: PassSpec, net: mr.Network, plan: Plan) -> Known:
    """What is known when a pass was made that is not its wave's last."""
    return replace(known, groups=made.group + 1, kept=kept_behind(known.kept, made, plan, net.shapes, 8))


def signals_from(plan: Plan, given: set[str], fitted: set[str]) -> set[str]:
    """All tensors whose signal follows from those given, `fitted` having weights: by trying all steps again."""
    signals = set(given)
    while more := [
        step.tensor
        for step in plan.steps
        if step.tensor not in signals and set(step.reads) <= signals and (not step.fitted or step.tensor in fitted)
    ]:
        signals |= set(more)
    return signals


@pytest.mark.parametrize("room", ROOMS, ids=str)
@pytest.mark.parametrize("seed", range(10))
def test_every_pass_has_what_it_needs(seed: int, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals and weights are there when a pass needs them, all that is kept fits, and each tensor is fitted once."""
    monkeypatch.setattr(schedule, "SUMS_SHARE", [0.5, 1e-4, 1e-9][seed % 3])
    net, plan = loaded(seed)
    samples = {target: [100, 3, 50][target % 3] for target in range(2 + seed % 4)}
    known, fitted = Known(100, samples), {target: set[str]() for target in samples}
    done = [(t, name) for one in passes(net, plan, known, room) for t in one.samples for name in one.fitted]
    assert sorted(done) == sorted((t, step.tensor) for t in samples for step in plan.fitted)
    for one in passes(net, plan, known, room):
        assert one.samples == {t: samples[t] for t in one.samples}
        assert one.looks == (one.wave == one.group == 0)
        for target in one.samples:
            assert one.start <= set(known.kept.get(target, ()))
            given = set(one.start) | ({plan.logits} if one.seeded else set())
            there = signals_from(plan, given, fitted[target] & set(one.path)) & (given | set(one.path))
            assert there == given | set(one.path)
            assert {name for step in one.fitted_steps(plan) for name in step.reads} <= there
            assert set(one.store) <= there
            fitted[target] |= set(one.fitted)
        known = behind(known, one, net, plan)
        kept = [signal for own in known.kept.values() for signal in own.values()]
        assert sum(signal.size for signal in kept if not signal.disk) <= room.memory
        assert sum(signal.size for signal in kept if signal.disk) <= room.disk
        assert sum(signal.disk for signal in kept) <= room.files
    assert not any(known.kept.values())


@pytest.mark.parametrize("room", ROOMS, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_asked_again_on_the_way_it_says_the_same(seed: int, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "SUMS_SHARE", 1e-4)
    net, plan = loaded(seed)
    known = Known(40, {0: 40, 1: 12, 2: 12})
    whole = passes(net, plan, known, room)
    for number, one in enumerate(whole):
        known = behind(known, one, net, plan)
        rest = whole[number + 1 :]
        if rest and rest[0].wave > one.wave:
            known = replace(known, waves=rest[0].wave, groups=0, fitted=known.fitted.union(one.fitted))
        elif not rest:
            known = replace(known, waves=one.wave + 1, groups=0, fitted=known.fitted.union(one.fitted))
        again = passes(net, plan, known, room)
        # Recordings of a wave that is under way may be told more closely: what is dropped sooner, never later.
        assert [replace(spec, recorded=frozenset()) for spec in again] == [
            replace(spec, recorded=frozenset()) for spec in rest
        ]


def test_room_decides_what_is_kept() -> None:
    net = deep_network(np.random.default_rng(0), 3)
    plan = make_plan(net, at=None, local=True, input_mask=None)
    known = Known(20, {0: 20, 1: 20})
    assert all(one.seeded and not one.store for one in passes(net, plan, known, Room(0)))
    in_memory = passes(net, plan, known, Room(10**9))
    assert not any(one.seeded for one in in_memory[1:])
    assert not any(one.on_disk for one in in_memory)
    on_disk = passes(net, plan, known, Room(0, 1e9, 100))
    # Logits are computed for nothing.
    assert [set(one.store) for one in on_disk] == [set(one.store) - {plan.logits} for one in in_memory]
    assert all(one.on_disk == set(one.store) for one in on_disk)
    # A file for each target's signal.
    assert not any(one.on_disk for one in passes(net, plan, known, Room(0, 1e9, 1)))
    assert max(len(one.on_disk) for one in passes(net, plan, known, Room(0, 1e9, 2))) == 1
    smallest = min(prod(net.shapes[name]) for one in on_disk for name in one.store)
    barely = passes(net, plan, known, Room(0, 8 * 40 * smallest, 100))
    assert {prod(net.shapes[name]) for one in barely for name in one.store} == {smallest}


def test_tensors_and_targets_share_passes_as_far_as_sums_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    net = deep_network(np.random.default_rng(0), 1)
    plan = make_plan(net, at=None, local=True, input_mask=None)
    known = Known(9, {0: 9, 5: 9, 7: 9})
    together = passes(net, plan, known)
    assert [one.title for one in together[:3]] == [
        "flat, class 0, 5, 7",
        "all, class 0, 5, 7",
        "way2.fired and 2 more, class 0, 5, 7",
    ]
    monkeypatch.setattr(schedule, "SUMS_SHARE", 1e-9)
    apart = passes(net, plan, known)
    assert [(one.wave, one.group, one.title) for one in apart[:4]] == [
        (0, 0, "flat, class 0"),
        (0, 1, "flat, class 5"),
        (0, 2, "flat, class 7"),
        (1, 0, "all, class 0"),
    ]
    assert len(apart) == 3 * len(plan.fitted)
    with pytest.raises(mr.InvalidData, match=r"a memory of 1e-08 GB is too small: the sums of tensor 'flat' take"):
        passes(net, plan, known, memory=10)


def test_samples_that_are_not_known_count_as_all() -> None:
    net, plan = loaded(3)
    unknown, most = Known(500, {0: None, 1: None}), Known(500, {0: 500, 1: 500})
    assert passes(net, plan, unknown) == passes(net, plan, most)
    few = waves(plan, get_backend(), MEMORY, Known(500, {0: 2, 1: 2}))
    assert all(a.bytes <= b.bytes for a, b in zip(few, waves(plan, get_backend(), MEMORY, unknown), strict=True))


def test_a_pass_travels_by_names() -> None:
    net, plan = loaded(3)
    for one in passes(net, plan, Known(40, {0: 40})):
        travelling = pickle.dumps(one)
        assert b"mipin_ref.layers" not in travelling
        assert b"mipin_ref.graph" not in travelling
        assert pickle.loads(travelling) == one
