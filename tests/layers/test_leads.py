"""Which elements of an input lead to wanted ones of the output, every kind of layer against pairs by loops."""

from __future__ import annotations

import numpy as np
import pytest

from mipin_ref.layers import KINDS, Conv, ConvTranspose, Layer, Linear
from mipin_ref.window import Window
from tests.backends import backend
from tests.layers.test_kinds import graph, recorded
from tests.networks.attention import EVERY as NETWORKS
from tests.networks.gated import GATED
from tests.networks.recurrent import RECURRENT
from tests.oracles.dead import leading
from tests.oracles.spec import Op

Asked = tuple[Layer, Op]


def asked() -> list[Asked]:
    """Layers of the random networks beside the op that each was read from."""
    found: list[Asked] = []
    for which in (*range(100), *GATED, *NETWORKS, *RECURRENT):
        ops = {op.output: op for op in graph(which).ops}
        layers = [layer for layer in recorded(which)[0].layers if layer.output in ops]
        # A mean over all but channels that are last is read as several layers.
        same = [x for x in layers if which not in NETWORKS or x.kind == type(ops[x.output]).__name__]
        # Of what an LSTM or a GRU hands out, files have tensors that the ops have not.
        same = [x for x in same if which not in RECURRENT or ops[x.output].inputs == x.inputs]
        found.extend((layer, ops[layer.output]) for layer in same)
    return found


def test_what_leads_to_wanted_elements() -> None:
    rng, seen = np.random.default_rng(0), set()
    for layer, op in asked():
        size = int(np.prod(layer.out_shape))
        one = np.zeros(layer.out_shape, np.bool_)
        one.reshape(-1)[int(rng.integers(size))] = True
        for wanted in (one, rng.random(layer.out_shape) < 0.2, np.ones_like(one), np.zeros_like(one)):
            for slot in layer.paths:
                expected = leading(op, slot, layer.in_shapes, wanted)
                found = layer.leads(wanted, slot)
                assert found.shape == layer.in_shapes[slot]
                assert np.array_equal(found, expected), (layer, slot)
        seen.add(type(layer))
    assert seen == set(KINDS)


def test_the_signals_come_back_from_there_and_nowhere_else() -> None:
    """Linear kinds: an element leads to a wanted one where the adjoint of positive weights reaches it."""

    device, rng = backend("numpy"), np.random.default_rng(1)
    for layer, _ in asked():
        if not isinstance(layer, Linear):
            continue
        wanted = rng.random(layer.out_shape) < 0.3
        back = layer.adjoint(device, wanted[None] * 1.0, np.abs(layer.constant) + 0.1)[0]
        assert np.all(layer.leads(wanted, 0)[back > 1e-7]), layer


@pytest.mark.parametrize("kind", [Conv, ConvTranspose])
def test_what_a_window_leaves_out_counts_as_read_where_its_group_is(kind: type[Layer]) -> None:
    """A 1-wide kernel with stride 2: by hand."""
    window = Window((1,), (2,), (0,), (0,), (1,))
    if kind is Conv:
        layer: Layer = Conv(
            name="c",
            inputs=("x",),
            output="y",
            in_shapes=((2, 4),),
            out_shape=(2, 2),
            weight=np.ones((2, 1, 1)),
            bias=np.zeros(2),
            window=window,
            groups=2,
        )
        wanted = np.array([[True, False], [False, False]])
        expected = np.array([[True, True, False, True], [False] * 4])
    else:
        layer = ConvTranspose(
            name="c",
            inputs=("x",),
            output="y",
            in_shapes=((1, 3),),
            out_shape=(1, 3),
            weight=np.ones((1, 1, 1)),
            bias=np.zeros(1),
            window=Window((1,), (2,), (2,), (0,), (1,)),
            groups=1,
        )
        wanted = np.array([[True, False, False]])
        expected = np.array([[True, True, False]])
    assert np.array_equal(layer.leads(wanted, 0), expected)
