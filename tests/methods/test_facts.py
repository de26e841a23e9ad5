"""What a method states of itself is what it does."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.feature_maps import feature_maps
from mipin_ref.methods.registry import METHODS, is_even, needs_patterns
from mipin_ref.panel import MIPIN
from tests.networks import seeded, to_onnx
from tests.networks.graphs import random_graph


def mapped() -> tuple[mr.Network, np.ndarray]:
    """A network with a feature map of several locations, and samples."""
    for seed in range(100):
        network = random_graph(seeded(seed), ranks=(2,))
        net = mr.load(to_onnx(network.ops, network.input_shape))
        if feature_maps(net):
            return net, np.random.default_rng(seed).normal(size=(6, *net.input_shape)).astype(np.float32)
    raise AssertionError("none of the random networks has a feature map")


@pytest.mark.parametrize("name", METHODS)
def test_methods_that_need_patterns_have_them_among_their_options(name: str) -> None:
    assert needs_patterns(name) == ("patterns" in {field.name for field in fields(METHODS[name].Options)})


@pytest.mark.parametrize("name", METHODS)
def test_a_map_is_even_where_the_method_says_so(name: str) -> None:
    net, x = mapped()
    at = feature_maps(net)[0]
    options = {"patterns": mr.fit_patterns(net, x)} if needs_patterns(name) else {}
    res = mr.attribute(net, x, 0, name, at=at, **options)  # type: ignore[arg-type]
    assert res.channel_axis is not None
    places = tuple(axis for axis in range(1, res.value.ndim) if axis != res.channel_axis)
    even = np.ptp(np.broadcast_to(res.attribution, res.value.shape), axis=places).max() == 0
    assert even == is_even(name)


def test_mip_in_is_neither() -> None:
    assert not needs_patterns(MIPIN)
    assert not is_even(MIPIN)


def test_a_panel_knows_which_of_its_methods_are_fitted() -> None:
    net, _ = mapped()
    assert mr.Panel(net).fitted == (MIPIN, *(name for name in METHODS if needs_patterns(name)))
    assert mr.Panel(net, names=["gradient", "patternnet"]).fitted == ("patternnet",)
