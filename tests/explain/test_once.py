"""An image goes through the network once: for its prediction, its map, and all of its classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.explain import ways
from mipin_ref.graph.forward import Recorder

IMAGES, COPIES = 3, 4


@pytest.fixture
def digits() -> np.ndarray:
    return np.asarray(mr.data.open_data(mr.data.builtin("mnist_cnn").calibration)[:40])


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Samples of each run of a network that reads images."""
    made: list[int] = []
    plain = Recorder._run

    def counted(self: Recorder, started: Any) -> Any:
        made.extend(len(value) for value in started.values() if value.shape[1:] == (1, 28, 28))
        return plain(self, started)

    monkeypatch.setattr(Recorder, "_run", counted)
    return made


@pytest.mark.parametrize(("method", "passes"), [("mip-in", 1), ("grad-cam", 1), ("smoothgrad", 1 + COPIES)])
def test_all_classes_of_an_image_share_what_is_run(
    method: str, passes: int, digits: np.ndarray, runs: list[int]
) -> None:
    net, x = mr.load(mr.data.builtin("mnist_cnn").model), digits[:IMAGES]
    options: dict[str, Any] = {"smoothgrad": {"samples": COPIES}}.get(method, {})
    if method == "mip-in":
        options = {"inverse": mr.fit(net, digits, "all", at="auto")}
    runs.clear()
    ex = mr.explain(net, x, top=4, method=method, cache=False, progress=False, **options)
    assert sum(runs) == passes * IMAGES
    for one in (ex, *ex.others):
        res = mr.attribute(net, x, one.result.target, method, at=ex.tensor, **options)
        np.testing.assert_array_equal(one.result.attribution, res.attribution)
    assert sum(runs) == passes * IMAGES * 5


def test_what_takes_long_is_said_beforehand(
    digits: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ways, "LONG", 0.0)
    net = mr.load(mr.data.builtin("mnist_cnn").model)
    ex = mr.explain(net, digits[:2], method="score-cam", cache=False)
    # The map has 64 channels, and the image is run as it is.
    assert "score-cam takes 65 forward passes a sample, about" in capsys.readouterr().err
    assert ex.maps.shape[0] == 2
