"""What comes back through each kind of layer by a known slip, for the likely cause of a deviation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from mipin_ref.backend import Array, Backend, get_backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.golden.material import Material
from mipin_ref.golden.regression import Pull
from mipin_ref.inverse.plan import Branch, Step
from mipin_ref.layers import (
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    Attention,
    AveragePool,
    Concat,
    Difference,
    Extremum,
    Gate,
    Gather,
    GlobalAveragePool,
    HostArray,
    Layer,
    Linear,
    MaxPool,
    Negative,
    Norm,
    Pad,
    Recurrent,
    Reduce,
    Reshape,
    Resize,
    ResponseNorm,
    Scores,
    Slice,
    SoftmaxWeights,
    Transpose,
    Unweighted,
    Where,
    as_kind,
)
from mipin_ref.layers.gate import copied

Slipped = Callable[[Layer, HostArray, int, Material], HostArray]
"""Takes a layer, the signal at its output, which of its inputs is asked for, and all that was recorded."""
Slips = tuple[tuple[str, Slipped], ...]

ADDED = "copies of one value are added, not averaged"


def pull_slips(step: Step, material: Material) -> Iterator[tuple[str, Pull]]:
    """The known slips of the kinds that a step's signals come back through, one at a time.

    Raises UnsupportedModel for a kind that is not among PULL_SLIPS.
    """
    for kind in dict.fromkeys(type(layer) for branch in step.own for layer in branch.layers):
        slips = PULL_SLIPS.get(kind)
        if slips is None:
            raise UnsupportedModel(f"the slips on the way back through {kind.__name__} are not known")
        for cause, slipped in slips:
            yield cause, partial(_pulled, kind, slipped, material)


def _pulled(
    kind: type[Layer],
    slipped: Slipped,
    material: Material,
    backend: Backend,
    branch: Branch,
    signals: Mapping[str, Array],
    taps: Mapping[str, Array],
) -> Array:
    """As `pull_back` has it, but for layers of one kind."""
    parts = [
        slipped(layer, signals[layer.output], branch.slot, material)
        if type(layer) is kind
        else as_kind(layer, Unweighted).pull_back(backend, signals[layer.output], branch.slot, taps)
        for layer in branch.layers
    ]
    return sum(parts[1:], parts[0])


def _adjoint(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    linear = as_kind(layer, Linear)
    return np.asarray(linear.adjoint(get_backend(), signal, linear.constant))


def _windows_added(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return np.asarray(as_kind(layer, MaxPool).adjoint(get_backend(), signal, material.taps[layer.output]))


def _copies_added(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return np.asarray(copied(get_backend(), signal, layer.in_shapes[slot], mean=False))


def _turned_copies_added(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return _copies_added(layer, -signal if slot else signal, slot, material)


def _not_turned(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return np.asarray(copied(get_backend(), signal, layer.in_shapes[slot], mean=True))


def _differentiated(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    activation, x = as_kind(layer, Activation), material.values[layer.input].astype(np.float64)
    return np.asarray(signal * activation.pair(np, x, activation.slope)[1])


def _times_divisor(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return _by_divisor(layer, signal, material, np.multiply)


def _over_divisor(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return _by_divisor(layer, signal, material, np.divide)


def _by_divisor(
    layer: Layer, signal: HostArray, material: Material, by: Callable[[HostArray, HostArray], HostArray]
) -> HostArray:
    norm = as_kind(layer, Norm)
    divisor = norm.parts(get_backend(), material.values[layer.input].astype(np.float64))[1]
    return by(signal.reshape(-1, *norm.split), divisor).reshape(signal.shape)


def _without_gate(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return np.asarray(copied(get_backend(), signal, layer.in_shapes[0], mean=True))


def _by_content(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    through = as_kind(layer, Gate).through(signal, material.values[layer.inputs[0]].astype(np.float64))
    return _without_gate(layer, through, slot, material)


def _other_way(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    gate = material.taps[layer.output].astype(np.float64)
    through = signal / gate if as_kind(layer, Gate).function == "Mul" else signal * gate
    return _without_gate(layer, through, slot, material)


def _gated_copies_added(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    through = as_kind(layer, Gate).through(signal, material.taps[layer.output])
    return _copies_added(layer, through, 0, material)


def _weights_left_out(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return _mixed_by(layer, signal, np.full_like(material.taps[layer.output], 1.0 / layer.in_shape[-2]))


def _weights_transposed(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    weights = material.taps[layer.output]
    square = weights.shape[-1] == weights.shape[-2]
    return _mixed_by(layer, signal, np.swapaxes(weights, -1, -2) if square else weights)


def _heads_mixed(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return _mixed_by(layer, signal, material.taps[layer.output][..., ::-1, :, :])


def _mixed_by(layer: Layer, signal: HostArray, weights: HostArray) -> HostArray:
    back = as_kind(layer, Attention).back(get_backend(), signal, weights)
    return np.asarray(copied(get_backend(), back, layer.in_shape, mean=True))


def _last_of_equals(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return np.asarray(signal * (last_winner(layer, material) == slot))


def last_winner(layer: Layer, material: Material) -> HostArray:
    """Which input of an Extremum won each place, of equals the last."""
    won = np.stack([material.values[name] == material.values[layer.output] for name in layer.inputs])
    return np.asarray(len(won) - 1 - np.argmax(won[::-1], axis=0))


def _everywhere(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    return signal


def _to_the_other(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    kept = as_kind(layer, Where).mask_set
    return np.asarray(signal * np.where(kept if slot else ~kept, 1.0, 0.0))


NEXT = "the gate that a signal is carried by is that of its own step, not of the next one"


def _of_changed_gates(change: Callable[[Recurrent, HostArray], HostArray]) -> Slipped:
    """What comes back through an LSTM or a GRU with other gates [n, gates, T, D·H]."""

    def slipped(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
        one, gates = as_kind(layer, Recurrent), np.array(material.taps[layer.output], np.float64)
        return np.asarray(one.pull_back(get_backend(), signal, slot, {layer.output: change(one, gates)}))

    return slipped


def _of_the_same_step(layer: Recurrent, gates: HostArray) -> HostArray:
    """What carries on, taken one step earlier in each direction's order than it belongs."""
    carrying = 0 if layer.gates == 2 else 2
    for direction in range(len(layer.reverse)):
        order, part = list(layer.order(direction)), layer.part(direction)
        moved = gates[:, carrying, :, part].copy()
        gates[:, carrying, order[1:], part] = moved[:, order[:-1]]
    return gates


def _none_let_in(layer: Recurrent, gates: HostArray) -> HostArray:
    gates[:, 0] = 1.0
    return gates


def _none_let_out(layer: Recurrent, gates: HostArray) -> HostArray:
    gates[:, 1] = 1.0
    return gates


def _none_kept(layer: Recurrent, gates: HostArray) -> HostArray:
    gates[:, 2] = 0.0
    return gates


def _of_shifted_update(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    """z of the step itself where a signal is carried, and where it leaves."""
    one, right = as_kind(layer, GRU), np.array(material.taps[layer.output], np.float64)
    wrong = _of_the_same_step(one, right.copy())
    through = one.pull_back(get_backend(), signal, slot, {layer.output: wrong})
    return np.asarray(through / (1 - wrong[:, 0]) * (1 - right[:, 0]))


def _gru_carried_alone(layer: Layer, signal: HostArray, slot: int, material: Material) -> HostArray:
    """Without the factor 1 - z."""
    gates = np.array(material.taps[layer.output], np.float64)
    through = as_kind(layer, GRU).pull_back(get_backend(), signal, slot, {layer.output: gates})
    return np.asarray(through / (1 - gates[:, 0]))


DIVIDED = (("the signal is divided by what was averaged, as a gradient is", _adjoint),)

PULL_SLIPS: Mapping[type[Layer], Slips] = {
    MaxPool: (("where several windows chose a location their values are added, not averaged", _windows_added),),
    **dict.fromkeys((AveragePool, GlobalAveragePool, Reduce), DIVIDED),
    Activation: (("the signal is multiplied by the derivative of the activation, as a gradient is", _differentiated),),
    Norm: (
        ("the signal is multiplied by the divisor", _times_divisor),
        ("the signal is divided by the divisor", _over_divisor),
        ("the signal is not multiplied by the divisor", _everywhere),
    ),
    Gate: (
        ("the gate is left out", _without_gate),
        ("the signal is multiplied by the content, not by the gate", _by_content),
        ("the gate divides where it multiplies, or the other way round", _other_way),
        (ADDED, _gated_copies_added),
    ),
    LSTM: (
        (NEXT, _of_changed_gates(_of_the_same_step)),
        ("the input gate is left out", _of_changed_gates(_none_let_in)),
        ("the output gate is left out", _of_changed_gates(_none_let_out)),
        ("nothing is carried to the step before", _of_changed_gates(_none_kept)),
    ),
    GRU: (
        (NEXT, _of_shifted_update),
        ("the signal is not multiplied by 1 - z", _gru_carried_alone),
    ),
    Attention: (
        ("the weights of attention are not transposed", _weights_transposed),
        ("the weights of attention are left out", _weights_left_out),
        ("the heads are in reverse order", _heads_mixed),
    ),
    Extremum: (
        ("of equal values the last one wins instead of the first", _last_of_equals),
        ("the signal goes to all inputs, not to the one that won", _everywhere),
    ),
    Resize: (("the weights of the forward op are taken as they are, not their mean", _adjoint),),
    Gather: ((ADDED, _adjoint),),
    Add: ((ADDED, _copies_added),),
    Difference: (
        ("what is subtracted has its signal's sign not turned", _not_turned),
        (ADDED, _turned_copies_added),
    ),
    Where: (("the mask is the wrong way round", _to_the_other),),
    **dict.fromkeys((SoftmaxWeights, Scores), ()),
    **dict.fromkeys((Negative, Affine, ResponseNorm, Concat, Slice, Pad, Reshape, Transpose), ()),
}
