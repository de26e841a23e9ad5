"""Cascading parameter randomisation against the same steps taken by hand, with similarities by loops."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import logits
from mipin_ref.graph.redraw import redraw
from tests.inverse.test_bad_input import X, small
from tests.networks import to_onnx
from tests.oracles.similarity import spearman, structural_similarity
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

Array = npt.NDArray[Any]

RNG = np.random.default_rng(4)
IMAGES = RNG.standard_normal((5, 2, 9, 8)).astype(np.float32)
TARGETS = np.array([2, 0, 2, 1, 0])


def deep() -> mr.Network:
    """Conv -> Relu -> Conv -> Relu -> Dense on two channels."""
    rng = np.random.default_rng(8)
    ops: list[Op] = [
        Conv(("input",), "low", rng.standard_normal((3, 2, 3, 3)) / 4),
        Activation(("low",), "low_relu", "Relu"),
        Conv(("low_relu",), "high", rng.standard_normal((4, 3, 3, 3)) / 5, bias=np.array([0.1, 0.2, -0.1, 0.3])),
        Activation(("high",), "high_relu", "Relu"),
        Reshape(("high_relu",), "flat", (80,)),
        Dense(("flat",), "scores", rng.standard_normal((80, 3)) / 6),
    ]
    return mr.load(to_onnx(ops, (2, 9, 8)))


def occlusion(net: mr.Network, x: Array, target: int) -> mr.Attribution:
    """What the logit loses with each value: a method that needs nothing but the network."""
    before = logits(net, x)[:, target]
    count = x[0].size
    without = x.reshape(len(x), 1, count) * (1 - np.eye(count, dtype=x.dtype))
    after = logits(net, without.reshape(-1, *x.shape[1:]))[:, target].reshape(len(x), count)
    lost = (before[:, None] - after).reshape(x.shape).astype(np.float64)
    value = x.astype(np.float64)
    return mr.Attribution(value, value * 0, lost, before, target, net.input, 1)


def edges(net: mr.Network, x: Array, target: int) -> mr.Attribution:
    """An explanation that does not look at the network."""
    sharp = np.abs(np.diff(x, axis=-1, append=0)) + x
    return mr.Attribution(x, x * 0, sharp, logits(net, x)[:, target], target, net.input, 1)


@pytest.mark.parametrize("kind", ["contribution", "attribution"])
def test_agrees_with_the_steps_by_hand(kind: str) -> None:
    net = deep()
    similarity = mr.metrics.randomization(net, occlusion, IMAGES, TARGETS, kind=kind, seed=5)
    assert [(step.tensor, step.kind) for step in similarity.steps] == [
        ("scores", "Dense"),
        ("high", "Conv"),
        ("low", "Conv"),
    ]
    for depth, step in enumerate(similarity.steps):
        redrawn = redraw(net, ["scores", "high", "low"][: depth + 1], 5)
        signed, absolute, ssim = [], [], []
        for image, target in zip(IMAGES, TARGETS.tolist(), strict=True):
            a, b = (occlusion(one, image[None], target) for one in (net, redrawn))
            if kind == "contribution":
                first, second = (sum(res.contribution[0, c] for c in range(2)) for res in (a, b))
            else:
                first, second = (sum(res.attribution[0, c] for c in range(2)) / 2 for res in (a, b))
            signed.append(spearman(first, second))
            absolute.append(spearman(np.abs(first), np.abs(second)))
            ssim.append(
                structural_similarity(np.abs(first) / np.abs(first).max(), np.abs(second) / np.abs(second).max(), 7)
            )
        # Values that round to the same or to neighbours swap ranks: batches differ in their last bits.
        assert step.signed == pytest.approx(sum(signed) / 5, abs=2e-3)
        assert step.absolute == pytest.approx(sum(absolute) / 5, abs=2e-3)
        assert step.ssim == pytest.approx(sum(ssim) / 5, abs=1e-4)
        assert step.flat == 0
    assert similarity.samples == 5


def test_what_depends_on_the_network_forgets_and_what_does_not_stays() -> None:
    net = deep()
    blind = mr.metrics.randomization(net, edges, IMAGES, TARGETS, kind="attribution")
    for step in blind.steps:
        assert (step.signed, step.absolute, step.ssim) == pytest.approx((1, 1, 1))
    means = [
        mr.metrics.randomization(net, occlusion, IMAGES, TARGETS, kind="attribution", seed=seed, ssim=False).steps[-1]
        for seed in range(6)
    ]
    assert abs(np.mean([step.signed for step in means])) < 0.25


def test_inverses_are_fitted_anew() -> None:
    rows = np.random.default_rng(1).standard_normal((200, 1, 6, 6)).astype(np.float32)
    seen: list[str] = []

    def mipin(net: mr.Network, x: Array, target: int) -> mr.Attribution:
        seen.append(net.sha256)
        return mr.fit(net, rows, target).attribute(x)

    net = small()
    similarity = mr.metrics.randomization(net, mipin, X, 1)
    assert len(set(seen)) == len(seen) == 3
    assert seen[0] == net.sha256
    assert all(abs(step.signed) < 0.999 for step in similarity.steps)


def test_some_tensors_and_each_step_as_it_is_done() -> None:
    net = deep()
    done: list[mr.metrics.RandomizationStep] = []
    whole = mr.metrics.randomization(net, occlusion, IMAGES, 1, on_step=done.append)
    assert tuple(done) == whole.steps
    some = mr.metrics.randomization(net, occlusion, IMAGES, 1, tensors=["low", "scores"])
    assert some.steps == (whole.steps[0], whole.steps[2])

    def failing(net: mr.Network, x: Array, target: int) -> mr.Attribution:
        if len(done) == 2:
            raise mr.InvalidData("no more")
        return occlusion(net, x, target)

    done.clear()
    with pytest.raises(mr.InvalidData, match="no more"):
        mr.metrics.randomization(net, failing, IMAGES, 1, on_step=done.append)
    assert tuple(done) == whole.steps[:2]


def test_flat_maps_are_left_out_and_counted() -> None:
    net = deep()

    def dying(now: mr.Network, x: Array, target: int) -> mr.Attribution:
        res = edges(now, x, target)
        values = res.attribution.copy()
        values[0] = 0
        if now is not net:
            values[1] = 0.5
            values[2] *= -1
        return replace(res, attribution=values)

    similarity = mr.metrics.randomization(net, dying, IMAGES[:4], 1, kind="attribution", tensors=["high"])
    (step,) = similarity.steps
    assert step.flat == 2
    assert step.signed == pytest.approx((-1 + 1) / 2, abs=1e-12)
    assert step.absolute == pytest.approx(1)
    assert step.ssim is not None
    assert 0.5 < step.ssim < 0.95
    text = str(similarity)
    assert text.splitlines()[1].split() == ["Conv", "high", f"{step.signed:.3f}", "1.000", f"{step.ssim:.3f}", "2"]
    assert text.endswith("means over 4 samples of the similarity to the maps before any redrawing")

    def dead(now: mr.Network, x: Array, target: int) -> mr.Attribution:
        res = edges(now, x, target)
        return res if now is net else replace(res, attribution=res.attribution * 0)

    none = mr.metrics.randomization(net, dead, IMAGES, 1, kind="attribution", tensors=["high"], ssim=False)
    assert np.isnan(none.steps[0].signed)
    assert str(none).splitlines()[1].split() == ["Conv", "high", "-", "-", "-", "5"]
    with pytest.raises(mr.InvalidData, match="every map of the network as it is"):
        mr.metrics.randomization(
            net, lambda n, x, t: replace(edges(n, x, t), attribution=x * 0), IMAGES, 1, kind="attribution"
        )


@pytest.mark.parametrize("side", [3, 4, 6])
def test_small_maps_have_a_smaller_window(side: int) -> None:
    net = deep()

    def cropped(now: mr.Network, x: Array, target: int) -> mr.Attribution:
        values = (edges if now is net else occlusion)(now, x, target).attribution[..., :side, :8].astype(np.float64)
        return mr.Attribution(values, values, values, logits(now, x)[:, target], target, net.input, 1)

    (step,) = mr.metrics.randomization(net, cropped, IMAGES, 1, kind="attribution", tensors=["scores"]).steps
    first = np.abs(cropped(net, IMAGES, 1).attribution.mean(axis=1))
    second = np.abs(cropped(redraw(net, ["scores"]), IMAGES, 1).attribution.mean(axis=1))
    expected = [
        structural_similarity(a / a.max(), b / b.max(), {3: 3, 4: 3, 6: 5}[side])
        for a, b in zip(first, second, strict=True)
    ]
    assert step.ssim == pytest.approx(np.mean(expected), abs=1e-4)


def test_a_missing_library_is_told_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(mr.BackendUnavailable, match=r"pip install 'mipin_ref\[metrics\]'") as caught:
        mr.metrics.randomization(deep(), lambda *given: pytest.fail("explained"), IMAGES, 1)
    assert "\n" not in str(caught.value)
    similarity = mr.metrics.randomization(deep(), edges, IMAGES, 1, ssim=False)
    assert similarity.steps[0].ssim is None


def inner(net: mr.Network, x: Array, target: int) -> mr.Attribution:
    return replace(edges(net, x, target), attribution=x.reshape(len(x), -1), value=x.reshape(len(x), -1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"target": TARGETS[:3]}, "one for each of the 5 samples, not 3"),
        ({"target": [0, 1, 2, 3, 0]}, r"target 3 is out of range"),
        ({"target": -1}, "out of range"),
        ({"target": TARGETS / 1.0}, "targets must be integer"),
        ({"kind": "signed"}, "kind must be 'contribution' or 'attribution', not 'signed'"),
        ({"tensors": []}, r"among the outputs of layers with weights, \['scores', 'high', 'low'\]"),
        ({"tensors": ["high", "high_relu"]}, "among the outputs of layers with weights"),
        ({"tensors": ["hihg"]}, "did you mean 'high'"),
        ({"x": IMAGES[:0]}, "no sample"),
        ({"x": IMAGES[:, :1]}, r"takes \[N, 2, 9, 8\]"),
        ({"explain": inner}, r"shape \[5, 144\] has not two spatial axes"),
        ({"explain": lambda n, x, t: edges(n, x, 0)}, "for class 0; asked for were .* for class 1"),
        ({"explain": lambda n, x, t: edges(n, x, t)[:2]}, r"maps \[2, 9, 8\] for class 1; asked for were \[5, 9, 8\]"),
        (
            {"explain": lambda n, x, t: replace(edges(n, x, t), attribution=x * np.nan)},
            "the contribution of tensor 'input' holds NaN or Inf",
        ),
        ({"explain": lambda n, x, t: occlusion(n, x[..., :2, :], t)}, r"takes \[N, 2, 9, 8\]"),
        (
            {"explain": lambda n, x, t: replace(edges(n, x, t), attribution=x[:, :, :2], value=x[:, :, :2])},
            "SSIM needs maps of 3×3 pixels or more",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(changed: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"explain": edges, "x": IMAGES, "target": 1} | changed
    with pytest.raises(mr.InvalidData, match=message) as caught:
        mr.metrics.randomization(deep(), **given)
    assert "\n" not in str(caught.value)


def test_maps_that_change_their_size_are_refused() -> None:
    net = deep()

    def shrinking(now: mr.Network, x: Array, target: int) -> mr.Attribution:
        res = edges(now, x, target)
        rows = 9 if now is net else 8
        return replace(res, attribution=res.attribution[:, :, :rows], value=res.value[:, :, :rows])

    with pytest.raises(mr.InvalidData, match=r"\[5, 9, 8\] for the network as it is, but \[5, 8, 8\]"):
        mr.metrics.randomization(net, shrinking, IMAGES, 1)
