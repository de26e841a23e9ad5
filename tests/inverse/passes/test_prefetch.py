"""A batch recorded while the one before is in use: the same results, the same errors, nothing left running."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.backend import Backend
from mipin_ref.inverse.descent import batch as batches_of_descents
from mipin_ref.inverse.passes import budget, fitter
from mipin_ref.inverse.passes.prefetch import batches
from tests.backends import backend, on_every_backend
from tests.inverse.passes.test_passes import same
from tests.inverse.test_bad_input import X, small, with_value
from tests.inverse.test_graphs import loaded
from tests.networks import to_onnx
from tests.oracles.spec import Dense, Op, Reshape


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every backend is taken for a device that computes beside the host."""
    monkeypatch.setattr(Backend, "has_own_memory", property(lambda self: True))


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@on_every_backend
def test_the_same_results(name: str, request: pytest.FixtureRequest) -> None:
    _, net, x = loaded(3)
    options: dict[str, Any] = {"batch_size": 3, "conv_bias": True, "backend": backend(name)}
    waited = mr.fit(net, x, [0, 2], **options)
    expected = waited[0].attribute(x, batch_size=3)
    request.getfixturevalue("device")
    threads: set[str] = set()

    def watched(*given: Any) -> Any:
        threads.add(threading.current_thread().name)
        return recorded(*given)

    recorded = batches_of_descents.recorded
    with pytest.MonkeyPatch.context() as patch:
        for module in ("passes.recordings", "descent.way"):
            patch.setattr(f"mipin_ref.inverse.{module}.recorded", watched)
        ahead = mr.fit(net, x, [0, 2], **options)
        found = ahead[0].attribute(x, batch_size=3)
    assert threads
    assert threading.current_thread().name not in threads
    for target in (0, 2):
        assert same(waited[target], ahead[target])
    for a, b in ((found.source, expected.source), (found.attribution, expected.attribution)):
        assert np.array_equal(a, b)


@pytest.mark.usefixtures("device")
def test_the_next_batch_is_made_meanwhile() -> None:
    made = [threading.Event() for _ in range(3)]

    def making() -> Generator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in batches(backend("numpy"), making()):
        assert all(event.wait(60) for event in made[: number + 2])
        assert not any(event.is_set() for event in made[number + 2 :])


@pytest.mark.usefixtures("device")
def test_an_error_comes_when_its_batch_is_due() -> None:
    def making() -> Generator[int]:
        yield 0
        yield 1
        raise mr.InvalidData("the third")

    seen: list[int] = []
    with pytest.raises(mr.InvalidData, match="the third"):
        seen.extend(batches(backend("numpy"), making()))
    assert seen == [0, 1]
    with pytest.raises(mr.InvalidData, match=r"samples 12\.\.15, hold NaN or Inf"):
        mr.fit(small(), with_value(np.nan), 1, batch_size=4)
    with pytest.raises(mr.InvalidData, match=r"samples 12\.\.15, hold NaN or Inf"):
        mr.fit(small(), X, 1).attribute(with_value(np.nan), batch_size=4)


@pytest.mark.usefixtures("device")
def test_who_stops_early_leaves_nothing_open() -> None:
    """Not even where the next batch is in the making."""
    closed: list[bool] = []
    begun = threading.Event()

    def making() -> Generator[int]:
        try:
            yield 0
            begun.set()
            time.sleep(0.2)
            yield 1
        finally:
            closed.append(True)

    held = making()

    def stopped() -> None:
        for _ in batches(backend("numpy"), held):
            begun.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert closed == [True]


def test_the_batch_ahead_counts_as_memory(request: pytest.FixtureRequest) -> None:
    def sizes() -> list[int]:
        """Samples a batch, where only the memory limits them."""
        found: list[int] = []
        shared_out = budget.make_budget

        def watched(*given: Any) -> budget.Budget:
            made = shared_out(*given)
            found.append(made.batch_size)
            return made

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fitter, "make_budget", watched)
            patch.setattr(budget, "HOST_BATCH", 1024)
            mr.fit(net, x, 0, memory="64MB", at="flat")
        return found

    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Reshape(("input",), "flat", (9000,)),
        Dense(("flat",), "scores", rng.standard_normal((9000, 3))),
    ]
    net = mr.load(to_onnx(ops, (9000,)))
    x = rng.standard_normal((40, 9000)).astype(np.float32)
    (alone,) = sizes()
    request.getfixturevalue("device")
    (ahead,) = sizes()
    assert 1 < ahead <= alone / 2 < 512
