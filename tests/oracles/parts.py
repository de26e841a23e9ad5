"""Activations that a network writes out in several ops (section 10, fine print 5), found by trying every entry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.oracles.spec import (
    Activation,
    Add,
    ChannelAffine,
    Difference,
    Extremum,
    Gate,
    Negative,
    Op,
    Part,
    Shape,
    Written,
)


def without_parts(ops: Sequence[Op], shapes: dict[str, Shape]) -> list[Op]:
    """The ops with one Part in the place of the last op of each activation written out; the others stay.

    An op of several inputs ends one where all that lies between it and some tensor is element-wise, the nearest such
    tensor being the entry. A sum or a difference of the entry itself, or of it normalised, is a residual. shapes: per
    sample, of all tensors.
    """
    found = list(ops)
    for place in reversed(range(len(found))):
        joint = found[place]
        if not isinstance(joint, Add | Difference | Extremum | Gate):
            continue
        tensors = [name for op in found[:place] for name in op.inputs] + [op.output for op in found[:place]]
        nearest = sorted(dict.fromkeys(tensors), key=lambda name: _made(found, name), reverse=True)
        for entry in dict.fromkeys([*joint.inputs, *nearest]):
            inner = _between(found[: place + 1], entry)
            if inner is None or not all(_elementwise(op, shapes) for op in inner):
                continue
            if not (isinstance(joint, Add | Difference) and _carries(found, joint, entry)):
                found[place] = Part((entry,), joint.output, _is_silu(inner, entry))
            break
    return found


def _carries(ops: Sequence[Op], joint: Op, entry: str) -> bool:
    """Whether an operand is the entry, or the entry normalised: an affine of constants that differ."""
    affines = [op for op in ops if isinstance(op, ChannelAffine) and op.inputs[0] == entry]
    differing = {op.output for op in affines if np.ptp(op.scale) > 0 or np.ptp(op.shift) > 0}
    return entry in joint.inputs or bool(differing.intersection(joint.inputs))


def _made(ops: Sequence[Op], name: str) -> int:
    return next((place for place, op in enumerate(ops) if op.output == name), -1)


def _between(ops: Sequence[Op], entry: str) -> list[Op] | None:
    """The ops that the last one is made by of `entry` alone; None where it needs something else."""
    needed, inner = {ops[-1].output}, []
    for op in reversed(ops):
        if op.output in needed and op.output != entry:
            inner.append(op)
            needed.remove(op.output)
            needed.update(op.inputs)
    return inner[::-1] if needed <= {entry} else None


def _elementwise(op: Op, shapes: dict[str, Shape]) -> bool:
    kinds = Activation | ChannelAffine | Negative | Written | Part | Add | Difference | Extremum | Gate
    return isinstance(op, kinds) and all(shapes[name] == shapes[op.output] for name in op.inputs)


def _is_silu(inner: Sequence[Op], entry: str) -> bool:
    """x · sigmoid(x), the one function of a positive mask that random networks come upon."""
    return (
        len(inner) == 2
        and isinstance(inner[0], Activation)
        and inner[0].kind == "Sigmoid"
        and isinstance(inner[1], Gate)
        and inner[1].function == "Mul"
        and set(inner[1].inputs) == {entry, inner[0].output}
    )
