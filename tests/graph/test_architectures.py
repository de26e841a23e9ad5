"""Thin variants of the architectures that people use, as torch's exporters write them: explained down to the pixels,
and the same from every exporter and opset.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch

import mipin_ref as mr
from benchmarks.seeded_torch import exported, seeded
from benchmarks.thin_torch import THIN
from tests.backends import relative_error

pytestmark = pytest.mark.slow

FIRST = "torchscript", 17
EXPORTS = (("torchscript", 13), ("torchscript", 20), ("dynamo", 23))
SAMPLES = 12


class Explained(NamedTuple):
    """The logits of one target, its tuple, and what was explained at the last map and at the pixels."""

    target: tuple[int, ...]
    logits: npt.NDArray[np.float32]
    last: mr.Attribution
    pixels: mr.Attribution


@cache
def network(name: str) -> torch.nn.Module:
    module: torch.nn.Module = seeded(THIN[name])
    return module


def images(name: str) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((SAMPLES, 3, THIN[name].side, THIN[name].side)).astype(np.float32)


def explained(name: str, exporter: str, opset: int) -> Explained:
    content, x = exported(network(name), THIN[name].side, exporter, opset), images(name)
    net = mr.load(content)
    assert not net.blocked or name.startswith("detector")
    outputs = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {net.input: x})[0]
    spread = outputs.std(axis=0)
    spread[: THIN[name].scores] = 0
    target = tuple(int(one) for one in np.unravel_index(int(spread.argmax()), spread.shape))
    logits = outputs[(slice(None), *target)]
    if net.head == "sigmoid":
        logits = np.log(logits) - np.log1p(-logits)
    inverse = mr.fit(net, x, target)
    last = mr.fit(net, x, target, at="auto").attribute(x)
    return Explained(target, logits, last, inverse.attribute(x))


def assert_explained(name: str, made: Explained) -> None:
    with torch.no_grad():
        wanted = network(name)(torch.from_numpy(images(name))).numpy()[(slice(None), *made.target)]
    if name == "detector_probable":
        wanted = np.log(wanted) - np.log1p(-wanted)
    spread = float(made.logits.std())
    assert spread > 1e-3
    for res, axes in ((made.last, 3), (made.pixels, 3)):
        # The networks are of float32, and have up to sixty layers; a folded batch norm rounds its weights once more.
        np.testing.assert_allclose(res.output, made.logits, rtol=0, atol=1e-4 * spread)
        np.testing.assert_allclose(res.output, wanted, rtol=0, atol=1e-4 * spread)
        assert res.source.ndim == 1 + axes
        for signal in (res.source, res.attribution):
            assert np.isfinite(signal).all()
            assert (np.abs(signal).max(axis=(1, 2, 3)) > 0).all()
    assert made.pixels.source.shape == images(name).shape
    assert made.last.source.shape[2] < THIN[name].side or name.startswith("unet")


def assert_same(one: Explained, other: Explained) -> None:
    """The files have other nodes, and the network is one: S and A are equal but for rounding."""
    assert one.target == other.target
    for first, second in ((one.last, other.last), (one.pixels, other.pixels)):
        assert first.source.shape == second.source.shape
        # Activations differ by roundings of float32; a fit on few samples is as sensitive as its condition.
        assert relative_error(second.source, first.source) < 1e-3
        assert relative_error(second.attribution, first.attribution) < 1e-3


@pytest.mark.parametrize("name", THIN)
def test_explained_down_to_the_pixels_the_same_from_every_exporter(name: str) -> None:
    """In one test: what the first export gives is compared with, and is made once."""
    first = explained(name, *FIRST)
    assert_explained(name, first)
    for export in EXPORTS:
        other = explained(name, *export)
        assert_explained(name, other)
        assert_same(first, other)
