"""What stays between calls of `attribute` never outlives its inverse, its bound, or a change of weights."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.inverse.descent.weights import DeviceWeights, Weights
from mipin_ref.inverse.passes.device_cache import DeviceCache
from tests.backends import backend, on_every_backend
from tests.inverse.test_bad_input import X, small


class Owner:
    """Anything that weights can belong to."""


def weights(count: int) -> Weights:
    return Weights((np.arange(count, dtype=np.float64).reshape(count, 1),), None)


@on_every_backend
def test_weights_go_to_the_device_once(name: str) -> None:
    device, owner, cache = backend(name, "float32"), Owner(), DeviceCache()
    first = cache.of(owner, device, {"a": weights(3)})
    again = cache.of(owner, device, {"a": weights(3), "b": weights(2)})
    assert again["a"] is first["a"]
    assert set(cache.of(owner, device, {"b": weights(2)})) >= {"b"}
    np.testing.assert_array_equal(device.get(again["b"].blocks[0]), weights(2).blocks[0])
    assert first["a"].bytes == 12


def test_the_last_owners_keep_theirs_within_the_bound() -> None:
    device, cache, owners = backend("numpy"), DeviceCache(24), [Owner() for _ in range(3)]

    def ask(number: int) -> DeviceWeights:
        return cache.of(owners[number], device, {"a": weights(1)})["a"]

    # Eight bytes each.
    first, second, third = (ask(number) for number in range(3))
    assert (ask(0), ask(1), ask(2)) == (first, second, third)
    large = Owner()
    found = cache.of(large, device, {"a": weights(2)})["a"]
    assert len(cache) == 2
    assert ask(2) is third
    assert cache.of(large, device, {"a": weights(2)})["a"] is found
    assert ask(0) is not first
    beyond = Owner()
    cache.of(beyond, device, {"a": weights(9)})
    assert len(cache) == 1


def test_weights_go_with_their_owner() -> None:
    cache, owner = DeviceCache(), Owner()
    cache.of(owner, backend("numpy"), {"a": weights(1)})
    assert len(cache) == 1
    del owner
    gc.collect()
    assert len(cache) == 0


@on_every_backend
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_attribute_again(name: str, dtype: str) -> None:
    """The same again, another inverse of the same network, and the same with other weights."""
    net, device = small(), backend(name, dtype)
    invs = mr.fit(net, X, [0, 1], ridge=0.5, conv_bias=True, backend=device, dtype=dtype)
    first = {target: inv.attribute(X) for target, inv in invs.items()}
    assert not np.array_equal(first[0].source, first[1].source)
    for target, inv in invs.items():
        again, part = inv.attribute(X), inv.attribute(X[:3], batch_size=2)
        np.testing.assert_array_equal(again.source, first[target].source)
        np.testing.assert_array_equal(again.attribution, first[target].attribution)
        np.testing.assert_allclose(part.source, again.source[:3], rtol=1e-4, atol=1e-5)
    scaled = {name: Weights(tuple(2 * b for b in w.blocks), w.intercept) for name, w in invs[0].weights.items()}
    steps = len(invs[0].plan.fitted)
    found = replace(invs[0], weights=scaled).attribute(X)
    np.testing.assert_allclose(found.attribution, 2**steps * first[0].attribution, rtol=1e-5)
