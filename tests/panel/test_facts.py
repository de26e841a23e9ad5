"""What a method states of itself is what it does."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.feature_maps import feature_maps
from mipin_ref.graph.forward import Recorder
from mipin_ref.methods.method import Method
from mipin_ref.panel.registry import METHODS, fit_is_asked
from tests.networks import seeded, to_onnx
from tests.networks.attention import NETWORKS as ATTENDING
from tests.networks.graphs import random_graph
from tests.networks.norms import SHAPE


def mapped() -> tuple[mr.Network, np.ndarray]:
    """A network with a feature map of several locations, and samples."""
    for seed in range(100):
        network = random_graph(seeded(seed), ranks=(2,))
        net = mr.load(to_onnx(network.ops, network.input_shape))
        if feature_maps(net):
            return net, np.random.default_rng(seed).normal(size=(6, *net.input_shape)).astype(np.float32)
    raise AssertionError("none of the random networks has a feature map")


def suited(name: str) -> tuple[mr.Network, np.ndarray]:
    """The same, or where a method looks at attention a network that has it, of tokens that lie in a picture."""
    net, x = mapped()
    if METHODS[name].suits(net):
        return net, x
    net = mr.load(to_onnx(ATTENDING["vision_transformer"](), SHAPE))
    assert METHODS[name].suits(net)
    return net, np.random.default_rng(0).normal(size=(6, *SHAPE)).astype(np.float32)


def fitted(name: str, net: mr.Network, x: np.ndarray) -> dict[str, Any]:
    """What a method must be given, fitted by what it states."""
    fitting = METHODS[name].fitting
    return {} if fitting is None else {fitting.option: fitting(net, x, {}).of([0])}


def heirs(kind: type[Any]) -> set[type[Any]]:
    return {kind}.union(*(heirs(one) for one in kind.__subclasses__()))


def test_every_method_of_the_package_is_listed_under_a_name_of_its_own() -> None:
    for room in ("mipin_ref.methods", "mipin_ref.panel"):
        for module in walk_packages(import_module(room).__path__, f"{room}."):
            import_module(module.name)
    found = {one for one in heirs(Method) if one.__module__.startswith("mipin_ref.") and "name" in vars(one)}
    assert found == set(METHODS.values())


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_must_be_fitted_with_is_one_of_its_options(name: str) -> None:
    net, x = mapped()
    fitting = METHODS[name].fitting
    if fitting is None:
        # It runs as it is.
        METHODS[name](METHODS[name].checked({}))
        return
    assert fitting.option in METHODS[name].option_names()
    with pytest.raises(mr.InvalidData, match=r"needs|must be fitted"):
        mr.attribute(net, x, 0, name)
    with pytest.raises(mr.InvalidData, match=f"{fitting.whose} must be fitted, and there are no calibration samples"):
        fitting(net, None, {}).of([0])
    kept = fitting(net, x, {})
    first, again = kept.of([0]), kept.of([0])
    assert first is again or first[0] is again[0]


def test_fits_that_a_user_has_a_say_in() -> None:
    assert fit_is_asked(METHODS) == ["mip-in"]


@pytest.mark.parametrize("name", METHODS)
def test_a_map_is_even_where_the_method_says_so(name: str) -> None:
    net, x = suited(name)
    facts = METHODS[name]
    at = net.input if facts.forward_only else feature_maps(net)[0]
    res = mr.attribute(net, x, 0, name, at=at, **fitted(name, net, x))
    assert (res.method, res.multiplier, res.follows_logit) == (name, facts.multiplier, facts.follows_logit)
    assert (res.signal is not None, res.delta is not None) == (facts.signals, facts.completes)
    # What is stated and not given would be empty.
    assert all(np.isfinite(part).all() for part in (res.signal, res.delta) if part is not None)
    assert res.channel_axis is not None
    places = tuple(axis for axis in range(1, res.value.ndim) if axis != res.channel_axis)
    even = np.ptp(np.broadcast_to(res.attribution, res.value.shape), axis=places).max() == 0
    assert even == facts.even


def test_a_panel_knows_which_of_its_methods_are_fitted() -> None:
    net, _ = mapped()
    attending, _ = suited("attention-rollout")
    assert mr.Panel(attending).names == tuple(mr.methods())
    assert mr.Panel(net).names == tuple(name for name in mr.methods() if "attention" not in name)
    assert mr.Panel(net).fitted == ("mip-in", "patternnet", "pattern-attribution")
    assert mr.Panel(net, names=["gradient", "patternnet"]).fitted == ("patternnet",)


@pytest.mark.parametrize("name", METHODS)
def test_passes_are_those_that_are_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = suited(name)
    runs: list[int] = []
    plain = Recorder.__call__

    def counted(self: Recorder, x: Any, *others: Any, **named: Any) -> Any:
        runs.extend([len(x)] if self._net is net else [])
        return plain(self, x, *others, **named)

    panel = mr.Panel(net, x, names=[name])
    panel.ready(name, [0])
    monkeypatch.setattr(Recorder, "__call__", counted)
    for at in (None,) if METHODS[name].forward_only else (net.input, feature_maps(net)[0]):
        made = []
        for samples in (1, 4):
            runs.clear()
            if panel.attempt(name, x[:samples], 0, at=at) is None:
                assert at == net.input, panel.failures
                break
            made.append(sum(runs))
        else:
            # What a batch takes for itself, as a baseline, is no part of it.
            assert (made[1] - made[0]) / 3 == panel.passes(name, at=at)
        panel.failures.clear()
