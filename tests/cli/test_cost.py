"""A comparison says beforehand how many forward passes it takes, and takes no more."""

from __future__ import annotations

import re

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.cli import cost
from mipin_ref.cli.compared import Seen, as_pictures, run_panel
from mipin_ref.cli.cost import told_of_cost
from mipin_ref.cli.places import Places
from mipin_ref.graph.remembered import SHARE, Remembered, remembering
from tests.graph.sketch import Sketch


@pytest.fixture
def net() -> mr.Network:
    sketch = Sketch(2, 12, 12)
    fired = sketch.node("Relu", sketch.conv("x", 2, 4, out="mixed"), out="fired")
    return mr.load(sketch.model(sketch.dense(sketch.node("Flatten", fired, out="flat"), 400, 6)))


def images(count: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((count, 2, 12, 12)).astype(np.float32)


def seen(net: mr.Network, images: int) -> Seen:
    x = np.random.default_rng(1).standard_normal((images, 2, 12, 12)).astype(np.float32)
    targets = np.stack([np.random.default_rng(row).permutation(6)[:5] for row in range(images)])
    return Seen(net, x, targets, Places.of(net))


@pytest.mark.parametrize("count", [2, 9])
def test_all_classes_of_an_image_share_its_passes(net: mr.Network, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "LONG", 0.0)
    options = {"smoothgrad": {"samples": 7}, "rise": {"samples": 20}, "integrated-gradients": {"steps": 5}}
    names = ["smoothgrad", "grad-cam++", "integrated-gradients", "score-cam", "rise", "mip-in", "patternnet"]
    panel = mr.Panel(net, images(30), names=names, method_options=options)
    shown = seen(net, count)
    told = told_of_cost(panel, shown, 30, 1.0, None)
    assert told is not None
    # The image; one for each of the 4 channels; 32 steps, of which the last is shared.
    curves = count * (2 + 7 * 2 * 31)
    inner = count * (7 + 5 + 4 + 21)
    expected = count + curves + inner
    assert told.startswith(f"up to {expected:,} forward passes, about ")
    assert f"(deletion and insertion {curves:,}), and the fits" in told
    panel.ready("mip-in", np.unique(shown.targets).tolist())
    panel.ready("patternnet", [0])
    memory = Remembered(SHARE << 24)
    with remembering(net, memory):
        compared = run_panel(panel, shown, as_pictures(1), None)
    assert [one.name for one in compared] == names
    assert len({one.deletion for one in compared}) > 4
    # Maps that order pixels alike share their curves too.
    assert expected - curves < memory.runs <= expected


def test_fits_to_an_inner_tensor_are_a_pass_each(net: mr.Network) -> None:
    panel = mr.Panel(net, images(30), names=["mip-in", "patternnet", "pattern-attribution"], fitted_to="fired")
    told = told_of_cost(panel, seen(net, 1), 30, 10.0, "fired")
    assert told is not None
    assert told.startswith(f"up to {1 + 2 * 30 + 2 + 3 * 2 * 31} forward passes")
    assert "fits 60" in told
    assert not told.endswith("fits")
    memory = Remembered(SHARE << 24)
    with remembering(net, memory):
        panel.ready("mip-in", [0, 1])
        panel.ready("patternnet", [0])
    assert 30 <= memory.runs <= 60


def test_little_is_not_spoken_of(net: mr.Network) -> None:
    panel = mr.Panel(net, names=["gradient"])
    shown = seen(net, 2)
    assert told_of_cost(panel, shown, 0, 1e-3, None) is None
    told = told_of_cost(panel, shown, 0, 10.0, None)
    assert told is not None
    passes = 2 * (1 + 2 + 2 * 31)
    assert told == f"up to {passes} forward passes, about {passes * 10 / 60:.0f} minutes (deletion and insertion 128)"


def test_what_fails_costs_nothing(net: mr.Network) -> None:
    panel = mr.Panel(net, names=["gradient", "rise"])
    told = told_of_cost(panel, seen(net, 1), 0, 10.0, "fired")
    assert told is not None
    assert re.search(r"\brise\b", told) is None
    assert "rise 1,001" in str(told_of_cost(panel, seen(net, 1), 0, 10.0, None))
