"""The forward pass of a quantised network: the file as it is, whose integers are handed out as what they stand for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.free import free_batch
from mipin_ref.graph.front import Front, mixes
from mipin_ref.graph.layout import Layout
from mipin_ref.graph.measure import plausible
from mipin_ref.graph.presentable import FOREIGN, standard_opset
from mipin_ref.graph.prune import pruned
from mipin_ref.graph.stem import Stem
from mipin_ref.graph.steps import Held

TRIED = 3
"""Samples of a run that tells whether the batch is free."""


def file_itself(
    proto: ModelProto,
    bound: Bound,
    tensors: Collection[str],
    layouts: Mapping[str, Layout],
    held: Mapping[str, Held],
    apart: int | None,
    work: int,
) -> Stem:
    """What makes these tensors of layers: the nodes of the file, and a DequantizeLinear behind those held as integers.

    layouts: by tensor of the file; work: of a sample, in multiply-adds.
    """
    taken = {name: held[name].name if name in held else name for name in tensors}
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
    offered = dict.fromkeys(names.values())
    small.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in offered)
    places = {name: layouts[source] for name, source in taken.items()}
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


def _fresh(name: str, known: set[str]) -> str:
    while name in known:
        name += "'"
    known.add(name)
    return name
