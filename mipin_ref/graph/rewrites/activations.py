"""Activations that a file writes out in several operators become one layer (method, section 10, fine print 5).

A part of one entry and of element-wise operators alone is an activation, whatever its last operator; but a sum or a
difference of the entry itself, or of it normalised channel by channel, is a residual. Positive scalars behind it belong
to it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from mipin_ref.graph.draft import Log, Product
from mipin_ref.graph.rewrites.head import head_layers
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Activation, Add, Affine, Difference, Extremum, Negative, Wired
from mipin_ref.layers.formula import Formula, Step
from mipin_ref.layers.functions import ARITHMETIC
from mipin_ref.layers.recognise import recognised

LONGEST = 64
"""Operators of one activation: the longest that an exporter writes has a dozen."""

GATED = frozenset({"Swish", "Gelu", "HardSwish", "Mish"})
"""Operators that a positive scalar behind them belongs to."""


def gather_activations(wiring: Wiring) -> None:
    """Put one Activation in the place of each part of the layers that is one; a head is none."""
    before = {layer.output for layer in wiring.layers}
    head = {layer.output for layer in head_layers(wiring)}
    # From the end: what is part of a longer activation is none of its own.
    for output in [layer.output for layer in reversed(wiring.layers) if _joins(layer) and layer.output not in head]:
        joint = wiring.maker(output)
        if joint is None:
            continue
        part = _part(wiring, joint)
        if part is not None:
            entry, written = _written(part)
            residual = isinstance(joint, Add | Difference) and _carries(wiring, joint, entry)
            # A GELU may be spelt x + x·erf(x / √2), and a half of it.
            if not residual or (written.formula is not None and written.formula.mask == "positive"):
                wiring.replace(written)
    wiring.drop_dead()
    _chain(wiring, head)
    _scale(wiring)
    wiring.folded.update(before - {layer.output for layer in wiring.layers})


def _carries(wiring: Wiring, joint: Wired, entry: str) -> bool:
    """Whether an operand is the entry itself, or normalised: scaled and shifted by constants that are not all alike."""
    makers = [wiring.maker(name) for name in joint.inputs if name != entry]
    normalised = any(isinstance(one, Affine) and one.input == entry and not _scalar(one) for one in makers)
    return entry in joint.inputs or normalised


def _joins(layer: Wired) -> bool:
    return isinstance(layer, Add | Difference | Product | Extremum)


def _elementwise(layer: Wired | None) -> bool:
    kinds = Activation | Log | Affine | Negative | Add | Difference | Product | Extremum
    return isinstance(layer, kinds) and all(shape == layer.out_shape for shape in layer.in_shapes)


def _part(wiring: Wiring, joint: Wired) -> list[Wired] | None:
    """The layers between the nearest single entry and `joint`, which ends them; None where they are no activation."""
    if not _elementwise(joint):
        return None
    part, waiting = {joint.output: joint}, dict.fromkeys(joint.inputs)
    while len(waiting) > 1:
        # The latest first: whoever reads it and is part of this has been met.
        name = wiring.latest(waiting)
        layer = None if name is None else wiring.maker(name)
        if layer is None or not _elementwise(layer) or len(part) == LONGEST:
            return None
        del waiting[layer.output]
        part[layer.output] = layer
        waiting.update(dict.fromkeys(layer.inputs))
    return list(reversed(part.values()))


def _written(part: Sequence[Wired]) -> tuple[str, Activation]:
    """The entry of a part, and the activation that it is, in the place of its last layer."""
    known = {name for layer in part for name in layer.inputs} - {layer.output for layer in part}
    (entry,) = known
    end = part[-1]
    steps, place = list[Step](), {entry: 0}
    for layer in part:
        steps += _steps(layer, [place[name] for name in layer.inputs], len(steps))
        place[layer.output] = len(steps)
    return entry, Activation(
        name=end.name,
        inputs=(entry,),
        output=end.output,
        in_shapes=(end.out_shape,),
        out_shape=end.out_shape,
        function="Formula",
        formula=recognised(Formula(tuple(steps))),
    )


def _steps(layer: Wired, of: Sequence[int], before: int) -> list[Step]:
    """A layer of a part as steps. of: which values it reads; before: how many steps there are in front of it."""
    read = tuple(of)
    if isinstance(layer, Activation):
        if layer.formula is not None:
            return [
                Step(
                    step.operator,
                    tuple(read[0] if one == 0 else before + one for one in step.of),
                    step.options,
                    step.constants,
                )
                for step in layer.formula.steps
            ]
        return [Step(layer.function, read, layer.options, {} if layer.slope is None else {"slope": layer.slope})]
    if isinstance(layer, Affine):
        return [Step("Affine", read, constants={"scale": layer.scale, "shift": layer.shift})]
    if isinstance(layer, Product | Extremum):
        return [Step(layer.function, read)]
    return [Step({Log: "Log", Negative: "Neg", Add: "Add", Difference: "Sub"}[type(layer)], read)]


def settle_logarithms(wiring: Wiring) -> None:
    """Make an activation of each logarithm that belongs to no head."""
    for layer in [layer for layer in wiring.layers if isinstance(layer, Log)]:
        wiring.replace(
            Activation(
                name=layer.name,
                inputs=layer.inputs,
                output=layer.output,
                in_shapes=layer.in_shapes,
                out_shape=layer.out_shape,
                function="Log",
            )
        )


def _chain(wiring: Wiring, head: Collection[str]) -> None:
    """Join activations and the scalars between them to one where arithmetic is among them: log(1 + exp x)."""
    for output in [one.output for one in wiring.layers if isinstance(one, Activation | Log) and one.output not in head]:
        layer = wiring.maker(output)
        chain = [layer]
        while len(chain) < LONGEST:
            before = _alone_before(wiring, chain[0])
            if not isinstance(before, Activation | Log | Negative) and not _scalar(before):
                break
            chain.insert(0, before)
        while chain and not isinstance(chain[0], Activation | Log | Negative):
            del chain[0]
        if any(isinstance(one, Affine) for one in chain) and any(_arithmetic(one) for one in chain):
            wiring.replace(_written([one for one in chain if one is not None])[1])
            wiring.drop_dead()


def _alone_before(wiring: Wiring, layer: Wired | None) -> Wired | None:
    """The layer in front of one that is its only reader."""
    if layer is None or wiring.sole_reader(layer.inputs[0]) is None:
        return None
    return wiring.maker(layer.inputs[0])


def _arithmetic(layer: Wired | None) -> bool:
    return isinstance(layer, Log) or (isinstance(layer, Activation) and layer.function in ARITHMETIC)


def _scalar(layer: Wired | None) -> bool:
    """Whether a layer scales and shifts all values alike."""
    return isinstance(layer, Affine) and all(np.all(value == value.flat[0]) for value in (layer.scale, layer.shift))


def _scale(wiring: Wiring) -> None:
    """Take positive scalars behind an activation written out, or behind one of GATED, into it."""
    for output in [layer.output for layer in wiring.layers if isinstance(layer, Activation)]:
        layer, behind = wiring.maker(output), wiring.sole_reader(output)
        while isinstance(layer, Activation) and (layer.formula is not None or layer.function in GATED):
            if not isinstance(behind, Affine) or not _scalar(behind) or wiring.logits == layer.output:
                break
            if np.any(behind.shift) or behind.scale.flat[0] <= 0:
                break
            wiring.replace(_written([layer, behind])[1])
            wiring.drop_dead()
            layer, behind = wiring.maker(behind.output), wiring.sole_reader(behind.output)
