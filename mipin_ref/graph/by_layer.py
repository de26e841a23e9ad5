"""The self-check of a quantised file: each layer, given what the file computed in front of it, must make what the file
computed behind it, to a step.

Over the whole network steps add up and would hide a layer that is read wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.emit import emit
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.layer_list import LayerList
from mipin_ref.graph.measure import plausible
from mipin_ref.graph.network import Network
from mipin_ref.graph.runtime import session
from mipin_ref.graph.steps import Blur, Held, Step
from mipin_ref.layers import HostArray, Wired

FLOATING = 1e-4
"""Share of the largest value that rounding in float32 may cost."""

SAMPLES = 2


@dataclass(frozen=True, eq=False)
class Steps:
    """What a quantised file may be off. held: tensors of layers that it holds as integers; blurred: products whose
    operand it quantises by its range; drafted: the layers before any was folded; bound: its inputs.
    """

    held: Mapping[str, Held]
    blurred: Mapping[str, Blur]
    drafted: tuple[Wired, ...]
    bound: Bound


def verify_by_layer(net: Network, steps: Steps, seed: int = 0) -> float:
    """The largest difference between a layer and the file, in what it may be. Raises UnsupportedModel beyond one."""
    assert net.file is not None
    x = plausible(steps.bound, net.file.apart or SAMPLES, seed)
    recorded = Recorder(net, [*net.shapes])(x if net.whole else x.astype(net.dtype)).values
    checked = [layer for layer in net.layers if layer.output in net.file.tensors]
    again = [replace(layer, output=f"{number}:again") for number, layer in enumerate(checked)]
    apart = LayerList(
        layers=tuple(again),
        input=net.input,
        input_shape=net.input_shape,
        dtype=net.dtype,
        logits=again[-1].output,
        sources={name: shape for name, shape in net.shapes.items() if name != net.input},
    )
    beside: dict[str, HostArray] = {}
    runtime = session(emit(apart, [one.output for one in again], beside=beside).SerializeToString(), weights=beside)
    feed = {value.name: recorded[value.name] for value in runtime.get_inputs()}
    swallowed = _swallowed(steps, net.shapes)
    worst = 0.0
    for layer, made in zip(checked, runtime.run([one.output for one in again], feed), strict=True):
        held = steps.held.get(layer.output)
        off = _off(made, recorded[layer.output], None if held is None else held.step)
        allowed = FLOATING * float(np.max(np.abs(recorded[layer.output]), initial=1e-30))
        allowed += 0.0 if held is None else held.step.scale
        allowed += sum(_allowed(one, recorded, layer.output) for one in swallowed.get(layer.output, ()))
        worst = max(worst, off / allowed)
        if not off <= allowed:
            raise UnsupportedModel(
                f"{layer.kind} {layer.name!r} differs from the quantised file by {off:.1e} where its steps allow "
                f"{allowed:.1e}: it is read wrong, or onnxruntime computes something else"
            )
    return worst


def _off(made: HostArray, file: HostArray, step: Step | None) -> float:
    """The largest difference, what the integers of the file do not reach left out."""
    reached = made if step is None else np.clip(made, step.low, step.high)
    return float(np.max(np.abs(reached.astype(np.float64) - file), initial=0.0))


def _swallowed(steps: Steps, kept: Iterable[str]) -> dict[str, list[Step | Blur]]:
    """The steps of tensors that no layer makes any more, by the first tensors of layers that are made of them."""
    names, found = {*kept}, dict[str, list[Step | Blur]]()
    carried: dict[str, list[Step | Blur]] = {}
    for layer in steps.drafted:
        own: list[Step | Blur] = [one for name in layer.inputs if name not in names for one in carried.get(name, ())]
        if layer.output in steps.blurred:
            own.append(steps.blurred[layer.output])
        if layer.output in names:
            found[layer.output] = own
        elif layer.output in steps.held:
            carried[layer.output] = [*own, steps.held[layer.output].step]
        else:
            carried[layer.output] = own
    return found


def _allowed(one: Step | Blur, recorded: Mapping[str, HostArray], output: str) -> float:
    """What a step in front of an output is there: of a tensor that is gone, its share of the range, doubled."""
    if isinstance(one, Step):
        return 2 * one.scale / (one.high - one.low) * float(np.max(np.abs(recorded[output]), initial=0.0))
    values = recorded.get(one.tensor, np.zeros(1))
    span = max(float(values.max(initial=0.0)), 0.0) - min(float(values.min(initial=0.0)), 0.0)
    return one.gain * span / 255
