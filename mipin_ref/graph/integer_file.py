"""The forward pass of a quantised network: the file as it is, whose integers are handed out as what they stand for."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.free import free_batch
from mipin_ref.graph.front import Front, mixes
from mipin_ref.graph.plausible import plausible
from mipin_ref.graph.presentable import FOREIGN, standard_opset
from mipin_ref.graph.prune import pruned
from mipin_ref.graph.read import Drafted
from mipin_ref.graph.stem import Stem
from mipin_ref.graph.steps import Held, States

TRIED = 3
"""Samples of a run that tells whether the batch is free."""


def file_itself(
    proto: ModelProto,
    bound: Bound,
    tensors: Collection[str],
    drafted: Drafted,
    apart: int | None,
    work: int,
) -> Stem:
    """What makes these tensors of layers: the nodes of the file, a DequantizeLinear behind those held as integers, and
    behind recurrent nodes what brings their outputs into one tensor.

    work: of a sample, in multiply-adds.
    """
    held, states = drafted.held, drafted.states
    taken = {name: held[name].name if name in held else name for name in tensors}
    taken |= {name: states[name].first for name in tensors if name in states}
    small = ModelProto()
    small.CopyFrom(pruned(proto, *dict.fromkeys(taken.values())))
    free_batch(small, bound)
    known = {name for node in small.graph.node for name in (*node.input, *node.output)}
    del small.graph.output[:]
    names = {}
    for number, (name, source) in enumerate(taken.items()):
        names[name] = source
        if name in held:
            names[name] = _fresh(f"dequantised{number}", known)
            _append_dequantized(small, held[name], names[name], known)
        elif name in states:
            names[name] = _append_states(small, states[name], known)
    offered = dict.fromkeys(names.values())
    small.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in offered)
    places = {name: drafted.layouts[name if name in states else source] for name, source in taken.items()}
    return Stem(small.SerializeToString(), bound, places, apart, work, names)


def samples_a_run(file: Stem) -> int | None:
    """How many samples each run must have: as many as the file fixes where it cannot be run on others, one where the
    samples of a batch change each other; else None.
    """
    fixed = file.bound.file_batch
    if fixed is not None:
        x = plausible(file.bound, TRIED, seed=1)
        try:
            made = Front(file, [*file.tensors], threads=1, together=True)(x, file.bound.compute)
        except (UnsupportedModel, ValueError):
            return fixed
        if any(len(value) != len(x) for value in made.values()):
            return fixed
    return 1 if mixes(file) else None


def _append_dequantized(proto: ModelProto, one: Held, output: str, known: set[str]) -> None:
    values = {"scale": np.array(one.step.scale, np.float32), "zero": np.array(one.step.zero, one.step.dtype)}
    names = [_fresh(f"{output}:{role}", known) for role in values]
    proto.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in zip(names, values.values(), strict=True)
    )
    # ONNX has 16 bits from opset 21 on; onnxruntime had an operator of its own, which such a file imports.
    wide = one.step.dtype.itemsize > 1 and standard_opset(proto) < 21
    node = helper.make_node("DequantizeLinear", [one.name, *names], [output], name=output)
    node.domain = FOREIGN if wide else ""
    proto.graph.node.append(node)


def _append_states(proto: ModelProto, one: States, known: set[str]) -> str:
    """Append what makes [T, N, width] of the outputs of a recurrent node. Returns its name."""
    (node,) = [node for node in proto.graph.node if one.first in node.output]
    if not node.output[0]:
        node.output[0] = _fresh(f"{one.first}:every", known)
    parts = [_rows_of(proto, node.output[0], [0, 2, 1, 3], (0, 0, one.width), known)]
    if not one.last:
        return parts[0]
    parts.append(_rows_of(proto, node.output[2], [1, 0, 2], (1, -1, one.width), known))
    whole = _fresh(f"{one.first}:rows", known)
    proto.graph.node.append(helper.make_node("Concat", parts, [whole], name=whole, axis=0))
    return whole


def _rows_of(proto: ModelProto, name: str, turned: list[int], shape: tuple[int, ...], known: set[str]) -> str:
    """Append a Transpose and a Reshape of a tensor. Returns the name of what they make."""
    first, sizes, second = (_fresh(f"{name}:{role}", known) for role in ("turned", "sizes", "joined"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), sizes))
    proto.graph.node.append(helper.make_node("Transpose", [name], [first], name=first, perm=turned))
    proto.graph.node.append(helper.make_node("Reshape", [first, sizes], [second], name=second))
    return second


def _fresh(name: str, known: set[str]) -> str:
    while name in known:
        name += "'"
    known.add(name)
    return name
