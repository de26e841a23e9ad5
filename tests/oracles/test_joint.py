"""Joint fits: X̂ of every tensor from its consumers, put together here by other means than the oracle's loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.networks import Network, graphs, random_graph, sample_inputs, seeded
from tests.oracles.consumers import Consumer, consumers_of, without_copies
from tests.oracles.dead import Flags, alive, without_dead
from tests.oracles.mipin import Fit, OracleResult, mipin
from tests.oracles.spec import (
    LRN,
    POSITIVE,
    Activation,
    Add,
    Array,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    Op,
    Pad,
    Reshape,
    Shape,
    Slice,
    Transpose,
)
from tests.oracles.test_design import torch_adjoint


def pulled(op: Op, slot: int, signal: Array, shapes: Sequence[Shape], result: OracleResult) -> Array:
    """The signal of an op with one scalar a channel, at its input number `slot`, without loops."""
    shape = (len(signal), *shapes[slot])
    match op:
        case Activation() | LRN() | Add() | ChannelAffine():
            return signal
        case Reshape():
            return signal.reshape(shape)
        case Transpose():
            return np.transpose(signal, np.argsort(op.perm))
        case Concat():
            bounds = np.cumsum([other[op.axis - 1] for other in shapes])[:-1]
            parts: list[Array] = np.split(signal, bounds, axis=op.axis)
            return parts[slot]
        case Slice():
            around = zip(op.begin, op.end, shapes[slot], strict=True)
            return np.pad(signal, [(0, 0), *((b, n - e) for b, e, n in around)])
        case Pad():
            for axis, (begin, length) in enumerate(zip(op.begin, shapes[slot], strict=True)):
                signal = np.take(signal, range(begin, begin + length), axis=axis + 1)
            return signal
        case MaxPool():
            total: Array = np.zeros((*shape[:2], math.prod(shape[2:])))
            count = np.zeros_like(total)
            flat = result.switches[op.output].reshape(*signal.shape[:2], -1)
            for found, value in ((total, signal.reshape(flat.shape)), (count, np.ones(flat.shape))):
                np.add.at(found, (*np.ogrid[: shape[0], : shape[1], :1][:2], flat), value)
            return (total / np.maximum(count, 1)).reshape(shape)
        case GlobalAveragePool():
            return np.broadcast_to(signal, shape).copy()
        case AveragePool():
            channels, window = shape[1], op.window
            ones = np.ones((channels, 1, *window.kernel))
            pads = window.begins + window.ends
            summing = Conv(("x",), "y", ones, None, window.strides, pads, window.dilations, channels)
            sums, covers = (torch_adjoint(summing, ones, s, shape[2:]) for s in (signal, np.ones(signal.shape)))
            mean: Array = sums / np.maximum(covers, 1)
            return mean
    raise TypeError(f"{op} has weights of its own")


def contribution(consumer: Consumer, weight: Array, result: OracleResult) -> Array:
    """G_k(S_k) for a block's weights."""
    op = consumer.op
    shapes = [result.values[name].shape[1:] for name in op.inputs]
    signal = result.source[op.output]
    if isinstance(op, Conv):
        return torch_adjoint(op, weight, signal, shapes[0][1:])
    if isinstance(op, Dense):
        return signal @ weight.T
    signals = [pulled(part, consumer.slot, result.source[part.output], shapes, result) for part in consumer.parts]
    put_together: Array = np.sum(signals, axis=0)
    return put_together * weight.reshape(-1, *(1 for _ in shapes[consumer.slot][1:]))


def living_consumers(network: Network, result: OracleResult, name: str) -> list[Consumer]:
    return consumers_of([op for op in without_copies(network.ops)[0] if op.output in result.source], name)


def assert_minimum(
    name: str, fit: Fit, consumers: list[Consumer], result: OracleResult, ridge: float, leads: Flags
) -> None:
    """No step along any intercept or random step along the weights lowers the objective.

    leads: [*shape], the elements that lead to the target: where no channel does, a location is no row of the fit.
    """
    value = result.values[name]
    assert [(b.consumer, b.slot) for b in fit.blocks] == [(c.op.output, c.slot) for c in consumers]
    parts = [contribution(c, b.weight, result) for c, b in zip(consumers, fit.blocks, strict=True)]
    predicted = np.sum(parts, axis=0)
    size = 1 + max(np.abs(part).max() for part in parts)
    if fit.intercept is not None:
        predicted = predicted + fit.intercept.reshape(-1, *(1 for _ in value.shape[2:]))
    np.testing.assert_allclose(result.prediction[name], predicted, rtol=1e-9, atol=1e-9 * size)
    residual = without_dead(predicted - value, leads, 1)
    scale = 1e-10 * (size + np.abs(value).max()) * value.size
    if fit.intercept is not None:
        assert np.abs(residual.sum(axis=(0, *range(2, value.ndim)))).max() < scale
    rng = np.random.default_rng(0)
    for consumer, block in zip(consumers, fit.blocks, strict=True):
        for _ in range(3):
            step = rng.standard_normal(block.weight.shape)
            moved = contribution(consumer, step, result)
            slope = float(np.sum(moved * residual) + ridge * np.sum(step * block.weight))
            assert abs(slope) < scale * (1 + np.abs(moved).max()), f"{name} through {block.consumer}"


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.sampled_from([1e-3, 1.0]), st.booleans(), st.booleans(), st.integers(0, 99))
def test_every_joint_fit_is_a_minimum(network: Network, ridge: float, conv_bias: bool, local: bool, seed: int) -> None:
    x = sample_inputs(network.input_shape, 6, seed)
    result = mipin(network.ops, x, 0, ridge=ridge, conv_bias=conv_bias, local=local)
    leads = alive(without_copies(network.ops)[0], {one: value.shape[1:] for one, value in result.values.items()}, 0)
    for name, fit in result.weights.items():
        consumers = living_consumers(network, result, name)
        with_intercept = any(
            isinstance(c.op, Dense | GlobalAveragePool | AveragePool | ChannelAffine) for c in consumers
        )
        assert (fit.intercept is not None) == (conv_bias or with_intercept)
        assert_minimum(name, fit, consumers, result, ridge, leads[name])


def same_as_input(network: Network) -> set[str]:
    """The network's input, whatever its shape: what no mask falls on."""
    same = {"input"}
    for op in without_copies(network.ops)[0]:
        if isinstance(op, Reshape | Transpose) and op.inputs[0] in same:
            same.add(op.output)
    return same


@pytest.mark.parametrize("seed", range(40))
def test_tensors_without_a_fit_take_the_signal_of_their_one_consumer(seed: int) -> None:
    network = random_graph(seeded(seed))
    result = mipin(network.ops, sample_inputs(network.input_shape, 6, seed), 1)
    copies = without_copies(network.ops)[1]
    for name in result.source.keys() - result.weights.keys() - {network.ops[-1].output}:
        if name in copies:
            np.testing.assert_array_equal(result.source[name], result.source[copies[name]])
            continue
        (consumer,) = living_consumers(network, result, name)
        shapes = [result.values[read].shape[1:] for read in consumer.op.inputs]
        parts = [pulled(p, consumer.slot, result.source[p.output], shapes, result) for p in consumer.parts]
        np.testing.assert_allclose(result.prediction[name], np.sum(parts, axis=0), rtol=1e-12, atol=1e-12)
        gated = any(op.output == name and isinstance(op, Activation) and op.kind in POSITIVE for op in network.ops)
        fired = result.values[name] > 0 if gated else result.values[name] != 0
        mask = fired | (name in same_as_input(network))
        np.testing.assert_array_equal(result.source[name], result.prediction[name] * mask)
