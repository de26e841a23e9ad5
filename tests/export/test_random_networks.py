"""Explainers of random networks that hold every kind of layer."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import mipin_ref as mr
from mipin_ref.layers import Attention
from tests.export.running import assert_exact, expected, outputs
from tests.inverse.drawn import drawn_fit
from tests.networks import Network, random_graph, seeded
from tests.networks.attention import NETWORKS as ATTENTION
from tests.networks.norms import SHAPE
from tests.networks.state_stages import DRAWN, EVERY_STAGE


def exported(seed: int, path: Path) -> mr.Inverse | None:
    """Explain a random network as its file and as this package; None where its logit never varies."""
    return explained(random_graph(seeded(seed), stages=EVERY_STAGE), seed, path)


def explained(network: Network, seed: int, path: Path) -> mr.Inverse | None:
    if (made := drawn_fit(network, seed)) is None:
        return None
    inverse, x = made
    mr.export(inverse, path, check=x)
    feed = {onnx.load(path).graph.input[0].name: x}
    assert_exact(outputs(path, feed), expected(inverse, x))
    return inverse


@pytest.mark.parametrize("seed", range(12))
def test_some_of_them(seed: int, tmp_path: Path) -> None:
    exported(900 + seed, tmp_path / "explainer.onnx")


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name: str, tmp_path: Path) -> None:
    for seed in range(2):
        inverse = explained(Network(tuple(ATTENTION[name]()), SHAPE), seed, tmp_path / "explainer.onnx")
        assert inverse is not None
        assert Attention in {type(layer) for step in inverse.plan.steps for layer in step.layers}


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 120, 20))
def test_more_of_them(start: int, tmp_path: Path) -> None:
    for seed in range(start, start + 20):
        exported(seed, tmp_path / "explainer.onnx")


@pytest.mark.slow
def test_they_come_back_through_every_kind(tmp_path: Path) -> None:
    seen: set[type] = set()
    for seed in range(300):
        inverse = exported(seed, tmp_path / "explainer.onnx")
        if inverse is not None:
            seen.update(type(layer) for step in inverse.plan.steps for layer in step.layers)
        if seen == DRAWN:
            return
    assert seen == DRAWN
