"""ONNX -> ForwardOnly: any file that onnxruntime runs, within the budgets of `load`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from mipin_ref.errors import CorruptFile, MipinError, UnsupportedModel
from mipin_ref.graph.bind import Bound, bind
from mipin_ref.graph.canonical import refuse
from mipin_ref.graph.columns import with_joined_columns
from mipin_ref.graph.conditions import Decided, inlined
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.front import Front, mixes
from mipin_ref.graph.functions import subgraphs
from mipin_ref.graph.head import HeadKind
from mipin_ref.graph.label import scores_in_front
from mipin_ref.graph.layout import Layout
from mipin_ref.graph.load import REFUSED_BY_OTHERS, Model
from mipin_ref.graph.measure import Measure, Measured
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.open import open_model
from mipin_ref.graph.plausible import plausible
from mipin_ref.graph.prune import pruned
from mipin_ref.graph.read import choose_output, read
from mipin_ref.graph.rescaled import divisor_of
from mipin_ref.graph.stem import Stem, stem_of
from mipin_ref.graph.told import labels_of, metadata_of
from mipin_ref.graph.trial import samples_that_fit
from mipin_ref.layers import Shape
from mipin_ref.text import first_line

HEADS: Mapping[str, HeadKind] = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
QUANTISED = (TensorProto.INT8, TensorProto.UINT8)
BY_RANGE = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")
SUMS = 1e-3
"""How far from one probabilities may sum."""


def open_forward(
    source: Model,
    *,
    output: str | None = None,
    input_shape: Mapping[str, Sequence[int]] | None = None,
    given: Mapping[str, Any] | None = None,
    reason: str = "",
) -> ForwardOnly:
    """Open a classifier for its forward pass alone; arguments as of `load`; reason: why it is no Network.

    The file is run first in a process of its own, which may take as much memory and time as files do that `load` runs.
    Raises InvalidData (no such file, output or input, values that do not fit), CorruptFile (as `load`),
    UnsupportedModel where the file asks for more than it may, cannot be run, or where its output holds no scores.
    """
    try:
        return _opened(source, output, input_shape, given, reason)
    except MipinError:
        raise
    except REFUSED_BY_OTHERS as error:
        raise CorruptFile(f"the model cannot be read: {type(error).__name__}: {first_line(error)}") from error


def _opened(
    source: Model,
    wanted: str | None,
    input_shape: Mapping[str, Sequence[int]] | None,
    given: Mapping[str, Any] | None,
    reason: str,
) -> ForwardOnly:
    opened = with_joined_columns(open_model(source), input_shape, given)
    output, names = _chosen(opened.proto, wanted)
    end, logits, head = _ends(opened.proto, output)
    needed = pruned(opened.proto, *dict.fromkeys([end, logits]))
    bound = bind(opened.proto, {value.name for value in needed.graph.input}, input_shape, given)
    if bound.said:
        needed = pruned(opened.proto, *dict.fromkeys([end, logits]))
    needed, measure = _measured(needed, end, bound)
    shapes = {name: _scores(measure, name) for name in dict.fromkeys([end, logits])}
    layouts = {name: Layout(one.axis) for name, one in shapes.items()}
    stem = stem_of(needed, bound, layouts, measure.apart, 0, measure)
    if measure.apart is None and (_may_mix(needed) or mixes(stem)):
        stem = replace(stem, apart=1)
    return ForwardOnly(
        output=end,
        target_shape=_without_ones(shapes[logits].sample),
        input=bound.data,
        input_shape=bound.shape,
        dtype=np.dtype(bound.compute),
        reads=bound.dtype if bound.whole else None,
        output_names=tuple(value.name for value in opened.proto.graph.output),
        logits=logits,
        head=head,
        shares=_look_like_shares(stem, bound, end),
        sha256=bound.digest(opened.sha256),
        stem=stem,
        forward_bytes=bound.compute.itemsize * max(1, measure.elements),
        reason=reason or "it was opened so",
        metadata=metadata_of(opened.proto),
        labels=names or labels_of(opened.proto, prod(_without_ones(shapes[logits].sample))),
        divides=divisor_of(opened.proto, bound.data),
    )


def _chosen(proto: ModelProto, wanted: str | None) -> tuple[str, tuple[str, ...] | None]:
    """The output to explain, and the names of its classes where a ZipMap tells them.

    Scores that are quantised are scores here, and where the one output tells a class, so are those it is chosen by.
    """
    quantised = [v.name for v in proto.graph.output if v.type.tensor_type.elem_type in QUANTISED]
    try:
        output = choose_output(proto, wanted)
    except UnsupportedModel:
        meant = [value.name for value in proto.graph.output] if wanted is None else [wanted]
        several = [name for name in meant if name in quantised] or [
            front for name in meant for front in scores_in_front(proto, name)[:1]
        ]
        if len({*several}) != 1:
            raise
        output = several[0]
    zipped = _maker(proto, output, "ZipMap")
    if zipped is None:
        return output, None
    told = {one.name: one for one in zipped.attribute}
    names = (
        [one.decode("utf-8", "replace") for one in told["classlabels_strings"].strings]
        if ("classlabels_strings" in told)
        else [str(one) for one in told["classlabels_int64s"].ints]
    )
    return output, tuple(names)


def _ends(proto: ModelProto, output: str) -> tuple[str, str, HeadKind | None]:
    """The output as a tensor, in front of a ZipMap; what is explained; and the head between them."""
    if zipped := _maker(proto, output, "ZipMap"):
        output = zipped.input[0]
    name = output
    while same := _maker(proto, name, "Identity"):
        name = same.input[0]
    for operator, kind in HEADS.items():
        node = _maker(proto, name, operator)
        if node is not None and node.domain in STANDARD:
            return output, str(node.input[0]), kind
    return output, output, None


def _maker(proto: ModelProto, name: str, operator: str) -> NodeProto | None:
    return next((node for node in proto.graph.node if name in node.output and node.op_type == operator), None)


def _measured(proto: ModelProto, output: str, bound: Bound) -> tuple[ModelProto, Measure]:
    """What the file's tensors look like, and the file without the Ifs whose condition is known.

    Nothing is run of a file that asks for more than it may. Raises UnsupportedModel for such a one, and for one that
    cannot be run.
    """
    while True:
        try:
            drafted, measure = read(pruned(proto, output), output, bound), Measure(proto, bound)
            if drafted.too_large:
                refuse(drafted)
            samples_that_fit(drafted)
            if not measure.known:
                raise UnsupportedModel(
                    f"onnxruntime cannot run the file: {measure.failure or 'a run of it comes to no end'}"
                )
            # Behind nodes without an inverse shapes are known only now.
            if read(pruned(proto, output), output, bound, measure).too_large:
                refuse(drafted)
            break
        except Decided as decided:
            proto = pruned(inlined(proto, decided), *(value.name for value in proto.graph.output))
    allowed = drafted.spent.activations()
    if measure.elements > allowed:
        raise UnsupportedModel(
            f"the file's tensors have {measure.elements:,} elements a sample; for a file of this size {allowed:,} are "
            "allowed"
        )
    return proto, measure


def _scores(measure: Measure, name: str) -> Measured:
    found = measure(name)
    if found is None:
        raise UnsupportedModel(
            f"which axis of output {name!r} is that of the samples cannot be told: none grows with them"
        )
    return found


def _may_mix(proto: ModelProto) -> bool:
    """Whether a node may decide for a whole batch: one with subgraphs, or one that quantises by the range it sees.

    Of random samples that need not show.
    """
    attributes = (attribute for node in proto.graph.node for attribute in node.attribute)
    runs_others = any(True for attribute in attributes for _ in subgraphs(attribute))
    return runs_others or any(node.op_type in BY_RANGE for node in proto.graph.node)


def _without_ones(shape: Shape) -> Shape:
    """The shape of a sample of the output, without axes of length one beside its classes."""
    return (max(shape, default=1),) if max(shape, default=1) == prod(shape) else shape


def _look_like_shares(stem: Stem, bound: Bound, output: str) -> bool:
    """Whether the output of a few inputs lies between 0 and 1, and sums to one where there are several."""
    values = Front(stem, [output], 1)(plausible(bound, 3, seed=0), np.dtype(np.float64))[output].reshape(3, -1)
    inside = bool(np.isfinite(values).all() and values.min() >= -SUMS and values.max() <= 1 + SUMS)
    return inside and (values.shape[1] == 1 or bool(np.abs(values.sum(axis=1) - 1).max() <= SUMS))
