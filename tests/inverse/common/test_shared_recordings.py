"""The data go through the network once for all parts of a fit in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph import forward
from mipin_ref.inverse.common import fitted
from mipin_ref.inverse.passes import fitter
from tests.inverse.common.test_auto import convolutions
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many samples each forward pass is of; the input itself comes without one."""
    made: list[int] = []
    call = forward.Recorder.__call__

    def noted(self: forward.Recorder, batch: np.ndarray, *given: Any, **more: Any) -> Any:
        made.extend([] if self._session is None else [len(batch)])
        return call(self, batch, *given, **more)

    monkeypatch.setattr(forward.Recorder, "__call__", noted)
    return made


# What the probes are compared on goes through once more: it may be recorded with other roundings.
@pytest.mark.parametrize(("common", "times"), [("relu0", 1), ("auto", 2)])
@pytest.mark.parametrize("classes", [4, 1000])
def test_samples_are_recorded_once(recorded: list[int], common: str, times: int, classes: int) -> None:
    """Of many classes what differs is kept in place of their weights, and is not recorded again either."""
    net, x = convolutions(classes=classes)
    recorded.clear()
    mr.fit(net, x, "all", common=common, ridge=300.0, memory="64MB" if common == "relu0" else "1GB")
    assert sum(recorded) == times * len(x)


@pytest.mark.parametrize("room", [0.0, 3e-4])
def test_without_room_they_are_recorded_again_to_the_same_bits(
    recorded: list[int], monkeypatch: pytest.MonkeyPatch, room: float
) -> None:
    """None is kept, or some that others push out."""
    net, x = convolutions(2)
    asked: dict[str, Any] = {"common": "auto", "ridge": 300.0, "memory": "64MB"}
    recorded.clear()
    wanted = mr.fit(net, x, "all", **asked)
    with_room = len(recorded)
    for module in (fitter, fitted):
        monkeypatch.setattr(module, "RECORDINGS_SHARE", room)
    recorded.clear()
    found = mr.fit(net, x, "all", **asked)
    assert len(recorded) > with_room
    assert found[0].report.common == wanted[0].report.common
    for target, inverse in wanted.items():
        for name in ("low", "high", "mean"):
            np.testing.assert_array_equal(getattr(inverse.seen, name), getattr(found[target].seen, name))
        for name, weights in inverse.weights.items():
            for one, other in zip(weights.blocks, found[target].weights[name].blocks, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_what_a_pass_reads_makes_no_room_for_what_comes_later() -> None:
    """Maps of cheap convolutions, more than there is room for: the logits that the pass reads were kept before."""
    rng, side = np.random.default_rng(0), 40
    features = 4 * (side - 2) ** 2
    ops: list[Op] = [
        Conv(("input",), "c0", rng.standard_normal((4, 1, 3, 3)) / 3),
        Activation(("c0",), "r0", "Relu"),
        Conv(("r0",), "c1", rng.standard_normal((4, 4, 1, 1)) / 2),
        Activation(("c1",), "r1", "Relu"),
        Reshape(("r1",), "flat", (features,)),
        Dense(("flat",), "scores", rng.standard_normal((features, 3)) / 80),
    ]
    net, x = mr.load(to_onnx(ops, (1, side, side))), rng.standard_normal((1200, 1, side, side)).astype(np.float32)
    small, large = (
        mr.fit(net, x, [0, 1, 2], common="auto", ridge=300.0, memory=memory)[0].attribute(x[:3]).attribution
        for memory in ("64MB", "1GB")
    )
    np.testing.assert_allclose(small, large, rtol=0, atol=1e-6 * np.abs(large).max())
