"""Where a reader may dissolve an op into its neighbour, so that a tensor of the file is gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tests.oracles.spec import (
    POSITIVE,
    Activation,
    AveragePool,
    ChannelAffine,
    Conv,
    Dense,
    Op,
    Pad,
    Reshape,
    Transpose,
)


def living(ops: Sequence[Op]) -> list[Op]:
    """The ops that the network's output needs."""
    needed = {ops[-1].output}
    kept = []
    for op in reversed(ops):
        if op.output in needed:
            needed.update(op.inputs)
            kept.append(op)
    return kept[::-1]


def _moves_values(op: Op) -> bool:
    return isinstance(op, Reshape | Transpose) or (isinstance(op, Activation) and op.kind in ("Identity", "Dropout"))


def _positive(op: Op | None) -> bool:
    return isinstance(op, Activation) and op.kind in POSITIVE


def _counts_zeros(op: Op) -> bool:
    """Whether zeros around its input enter the means of an AveragePool, as padding of its own would."""
    return isinstance(op, AveragePool) and not op.ceil_mode and (op.count_include_pad or not any(op.pads))


def first_foldable(ops: Sequence[Op]) -> str | None:
    """The input or output of an op that its neighbour there could take up; None where there is no such op.

    A ChannelAffine dissolves into a Conv, Dense or ChannelAffine before or behind it, a Pad with zeros into a Conv or
    AveragePool behind it: past ops that only move values (a Pad also past a ChannelAffine or another Pad), and only
    where every tensor on the way has one reader. A ChannelAffine of one positive number belongs to a HardSwish before
    it.
    """
    alive = living(ops)
    readers = Counter(name for op in alive for name in op.inputs)
    producer = {op.output: op for op in alive}
    reader = {name: op for op in alive for name in op.inputs}
    for op in alive:
        affine = isinstance(op, ChannelAffine)
        if isinstance(op, ChannelAffine):
            name = op.inputs[0]
            while readers[name] == 1 and name in producer and _moves_values(producer[name]):
                name = producer[name].inputs[0]
            if readers[name] == 1 and isinstance(producer.get(name), Conv | Dense | ChannelAffine):
                return op.inputs[0]
            if readers[name] == 1 and op.scale.size == 1 and _positive(producer.get(name)):
                return op.inputs[0]
        if affine or (isinstance(op, Pad) and op.value == 0):
            name = op.output
            while readers[name] == 1 and (
                _moves_values(reader[name]) or (not affine and isinstance(reader[name], ChannelAffine | Pad))
            ):
                name = reader[name].output
            if readers[name] != 1:
                continue
            if isinstance(reader[name], Conv | Dense | ChannelAffine if affine else Conv):
                return op.output
            if not affine and _counts_zeros(reader[name]):
                return op.output
    return None


def guarded(ops: Sequence[Op]) -> list[Op]:
    """The ops with a Relu wherever one could be dissolved into its neighbour."""
    result = list(ops)
    while (name := first_foldable(result)) is not None:
        guard = Activation((name,), f"{name}.guard", "Relu")
        place = next((i + 1 for i, op in enumerate(result) if op.output == name), 0)
        behind: list[Op] = [
            replace(op, inputs=tuple(guard.output if read == name else read for read in op.inputs))  # type: ignore[arg-type]
            for op in result[place:]
        ]
        result = [*result[:place], guard, *behind]
    return result
