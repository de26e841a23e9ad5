"""Which axis of each tensor holds its channels (section 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.oracles.spec import (
    GRU,
    LRN,
    LSTM,
    Activation,
    Add,
    Attention,
    AveragePool,
    ChannelAffine,
    Conv,
    ConvTranspose,
    Difference,
    Extremum,
    Gate,
    GlobalAveragePool,
    MaxPool,
    Negative,
    Norm,
    Op,
    Part,
    Reduce,
    Resize,
    Shape,
    TokenDense,
    Transpose,
    Where,
    Written,
    input_name,
)

HANDING_ON = (
    *(Activation, Add, LRN, ChannelAffine, Transpose),
    *(Difference, Extremum, Gate, Negative, Part, Where, Written),
)
"""Ops that have channels where their input has them."""


def says(op: Op, rank: int) -> int | None:
    """The axis, counted with the batch, on which an op has channels. rank: of its input, without the batch."""
    match op:
        case Conv() | ConvTranspose() | Resize() | MaxPool() | AveragePool() | GlobalAveragePool():
            return 1
        case ChannelAffine() if op.scale.ndim == op.shift.ndim == 1:
            return 1  # a batch normalisation
        case TokenDense():
            return op.axis
        case LSTM() | GRU() | Attention():
            return rank
        case Norm():
            return op.channels
        case Reduce():
            kept = [axis for axis in range(1, rank + 1) if axis not in op.axes]
            return kept[0] if len(kept) == 1 else None
    return None


def channel_axes(ops: Sequence[Op], shapes: Mapping[str, Shape]) -> dict[str, int]:
    """By tensor: what a reader says, else what readers hand on, else what its writer says; else 1.

    shapes: of all tensors, per sample.
    """
    known = {name: len(shape) for name, shape in shapes.items()}
    names = [input_name(ops), *(op.output for op in ops)]

    def below(name: str) -> int | None:
        for op in ops:
            if name in op.inputs and (told := says(op, known[name])) is not None:
                return told
        for op in ops:
            if name in op.inputs and isinstance(op, HANDING_ON):
                told = below(op.output)
                if told is not None:
                    return op.perm[told] if isinstance(op, Transpose) else told
        return None

    def above(name: str) -> int | None:
        for op in ops:
            if op.output == name:
                told = says(op, known[op.inputs[0]])
                if told is not None:
                    return told
                if isinstance(op, HANDING_ON):
                    for source in op.inputs:
                        told = below(source) or above(source)
                        if told is not None:
                            return op.perm.index(told) if isinstance(op, Transpose) else told
        return None

    return {name: (below(name) or above(name) or 1) if known[name] > 1 else 1 for name in names}
