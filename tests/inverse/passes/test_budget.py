"""What a fit's memory is shared out to stays within it, and leaves room for the batch."""

from __future__ import annotations

import pytest

from mipin_ref.backend import get_backend
from mipin_ref.inverse.passes.budget import Demand, make_budget
from mipin_ref.inverse.plan import make_plan
from tests.inverse.passes.test_resume import chain

MEMORY = 10**8


@pytest.mark.parametrize("sums", [0.0, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("samples", [10, 10**6])
@pytest.mark.parametrize("targets", [1, 1000])
def test_all_shares_together_are_less_than_the_memory(sums: float, samples: int, targets: int) -> None:
    net = chain()
    plan = make_plan(net, at=None, local=True, input_mask=None)
    demand = Demand([[step] for step in plan.fitted], int(sums * MEMORY), targets, samples)
    found = make_budget(net, plan, demand, MEMORY, (0.15, 0.15), get_backend())
    # A sample holds at least its widest values, once as recorded and once as computed.
    batch = found.batch_size * (4 + 8) * 2 * 100
    assert found.signals + found.recordings + int(sums * MEMORY) + found.coalesced + batch < MEMORY
    assert found.batch_size > 20
    assert found.coalesced > 0.01 * MEMORY
    if sums <= 0.5:
        assert found.signals == found.recordings == 15 * MEMORY // 100


def test_few_samples_leave_more_for_the_batch() -> None:
    """What would be kept of them is less than what may be kept."""
    net = chain()
    plan = make_plan(net, at=None, local=True, input_mask=None)
    sizes = [
        make_budget(
            net, plan, Demand([[plan.fitted[0]]], MEMORY // 2, 1, n), MEMORY, (0.15, 0.15), get_backend()
        ).batch_size
        for n in (10, 1000, 10**6)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
