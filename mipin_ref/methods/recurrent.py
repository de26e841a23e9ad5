"""Rules of LSTM and GRU: the true derivative through time, and relevance with gates and recurrent product constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mipin_ref.backend import Array, Backend
from mipin_ref.layers import GRU, LSTM, Layer, Recurrent, as_kind
from mipin_ref.methods.layer_context import LayerContext, Read
from mipin_ref.methods.relevance import stabilised
from mipin_ref.methods.rules import Rules


@dataclass
class Flow:
    """What one direction hands back: to the candidate's share by step [n, H], to the sequence by step [n, C], and to
    the initial states [n, H] by name.
    """

    candidate: dict[int, Array]
    sequence: dict[int, Array]
    initial: dict[str, Array]


@dataclass(frozen=True, eq=False)
class Weights:
    """Of one direction: of the sequence [gates · H, C], and of the hidden state for the gates and the candidate."""

    given: Array
    gates: Array
    candidate: Array


def of_lstm(backend: Backend, layer: Layer, inputs: tuple[Array, ...], signal: Array, direction: int) -> Flow:
    """Back-propagation through time (Werbos 1990) of C_t = f C_{t-1} + i g, h_t = o tanh C_t."""
    layer, xp = as_kind(layer, LSTM), backend.xp
    made, weights = layer.run(backend, inputs, direction), _weights(backend, layer, direction)
    flow, part = Flow({}, {}, {}), layer.part(direction)
    seen = None if layer.peepholes is None else backend.put(layer.peepholes)[direction, ...]
    hidden = xp.zeros_like(signal[:, 0, ..., part])
    cell = signal[:, layer.steps, ..., part] if layer.last else hidden
    for step in reversed(layer.order(direction)):
        one = made[step]
        hidden = hidden + signal[:, step, ..., part]
        cell = cell + hidden * one.output[0] * one.leaves[1]
        out = hidden * one.leaves[0] * one.output[1]
        if seen is not None:
            cell = cell + out * seen[1, :]
        into = cell * one.candidate[0] * one.input[1]
        forget = cell * one.cell_before * one.forget[1]
        gates = xp.concat([into, out, forget], axis=-1)
        total = cell * one.input[0] * one.candidate[1]
        flow.candidate[step], flow.sequence[step] = total, gates @ weights.given
        hidden, cell = gates @ weights.gates + total @ weights.candidate, cell * one.forget[0]
        if seen is not None:
            cell = cell + into * seen[0, :] + forget * seen[2, :]
    flow.initial = {"hidden": hidden, "cell": cell}
    return flow


def of_gru(backend: Backend, layer: Layer, inputs: tuple[Array, ...], signal: Array, direction: int) -> Flow:
    """The same of h_t = (1 - z) n + z h_{t-1}."""
    layer, xp = as_kind(layer, GRU), backend.xp
    made, weights = layer.run(backend, inputs, direction), _weights(backend, layer, direction)
    flow, part = Flow({}, {}, {}), layer.part(direction)
    hidden = xp.zeros_like(signal[:, 0, ..., part])
    for step in reversed(layer.order(direction)):
        one = made[step]
        hidden = hidden + signal[:, step, ..., part]
        total = hidden * (1 - one.update[0]) * one.candidate[1]
        update = hidden * (one.before - one.candidate[0]) * one.update[1]
        if layer.reset_behind:
            reset, past = total * one.past, (total * one.reset[0]) @ weights.candidate
        else:
            through = total @ weights.candidate
            reset, past = through * one.before, through * one.reset[0]
        gates = xp.concat([update, reset * one.reset[1]], axis=-1)
        flow.candidate[step], flow.sequence[step] = total, gates @ weights.given
        hidden = hidden * one.update[0] + past + gates @ weights.gates
    flow.initial = {"hidden": hidden}
    return flow


def _weights(backend: Backend, layer: Recurrent, direction: int) -> Weights:
    xp, size, count = backend.xp, layer.size, layer.gates * layer.size
    own = xp.reshape(backend.put(layer.recurrence)[direction, ...], (-1, size))
    return Weights(xp.reshape(backend.put(layer.weight)[direction, ...], (count, -1)), own[:count, :], own[count:, :])


class ThroughTime:
    """Jᵀ s of an LSTM or a GRU, at each of its inputs."""

    def __init__(self, back: Callable[[Backend, Layer, tuple[Array, ...], Array, int], Flow]) -> None:
        self._back = back

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        layer, xp = as_kind(context.layer, Recurrent), context.backend.xp
        if "flows" not in context.kept:
            context.kept["flows"] = self._flows(context, layer, signal)
        flows = context.kept["flows"]
        if slot == 0:
            return xp.concat([_by_step(context.backend, flow.candidate, layer.steps) for flow in flows], axis=-1)
        if slot == 1:
            parts = [_by_step(context.backend, flow.sequence, layer.steps) for flow in flows]
            return sum(parts[1:], parts[0])
        name = layer.computed[slot - 2]
        return xp.stack([flow.initial[name] for flow in flows], axis=1)

    def _flows(self, context: LayerContext, layer: Recurrent, signal: Array) -> list[Flow]:
        """What each direction hands back."""
        assert context.inputs is not None
        inputs = tuple(x[: signal.shape[0], ...] for x in context.inputs)
        return [self._back(context.backend, layer, inputs, signal, one) for one in range(len(layer.reverse))]


def _by_step(backend: Backend, values: dict[int, Array], steps: int) -> Array:
    return backend.xp.stack([values[step] for step in range(steps)], axis=1)


Share = tuple[Array, Array, Array, Array]
"""Of one step what the cell takes in and what it keeps, the candidate before its tanh, and the cell."""
Shares = Callable[[Backend, Layer, tuple[Array, ...], int], dict[int, Share]]


def shares_of_lstm(backend: Backend, layer: Layer, inputs: tuple[Array, ...], direction: int) -> dict[int, Share]:
    made = as_kind(layer, LSTM).run(backend, inputs, direction)
    return {
        step: (one.input[0] * one.candidate[0], one.forget[0] * one.cell_before, one.total, one.cell)
        for step, one in made.items()
    }


def shares_of_gru(backend: Backend, layer: Layer, inputs: tuple[Array, ...], direction: int) -> dict[int, Share]:
    made = as_kind(layer, GRU).run(backend, inputs, direction)
    return {
        step: ((1 - one.update[0]) * one.candidate[0], one.update[0] * one.before, one.total, one.after)
        for step, one in made.items()
    }


class Accumulated:
    """Relevance of cells and of what they take in, in proportion: of C_t that of f_t ⊙ C_{t-1} and i_t ⊙ g_t, of the
    candidate that of W x + b beside the recurrent product, which is state, as gates are (CP-LRP).
    """

    def __init__(self, shares: Shares, stabiliser: float) -> None:
        self._shares, self._stabiliser = shares, stabiliser

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        backend, layer = context.backend, as_kind(context.layer, Recurrent)
        assert context.inputs is not None
        inputs = tuple(x[: signal.shape[0], ...] for x in context.inputs)
        parts = []
        for direction in range(len(layer.reverse)):
            part, found = layer.part(direction), {}
            shares = self._shares(backend, layer, inputs, direction)
            relevance = signal[:, layer.steps, ..., part] if layer.last else 0.0
            for step in reversed(layer.order(direction)):
                taken, kept, total, whole = shares[step]
                each = (relevance + signal[:, step, ..., part]) / stabilised(backend, whole, self._stabiliser)
                own = inputs[0][:, step, ..., part] / stabilised(backend, total, self._stabiliser)
                found[step], relevance = each * taken * own, each * kept
            parts.append(_by_step(backend, found, layer.steps))
        return backend.xp.concat(parts, axis=-1)


def accumulated(stabiliser: float) -> Rules:
    """The rules of relevance of recurrent layers."""
    return {LSTM: Accumulated(shares_of_lstm, stabiliser), GRU: Accumulated(shares_of_gru, stabiliser)}


THROUGH_TIME: Rules = {LSTM: ThroughTime(of_lstm), GRU: ThroughTime(of_gru)}
"""The gradient of recurrent layers."""
