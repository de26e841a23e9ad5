"""Nodes that read tensors whose batch holds several rows of each sample, as time-distributed layers do.

Such a tensor [N·T, C, *map] is that of samples [T, C, *map], and a node that works on each row alone works on each of
these: with one more axis in front of what it counts, or, where it slides over a map, over maps [C, T, *map] with a
window of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np

from mipin_ref.graph.draft import BATCH, Draft, Refused, Signal, readable
from mipin_ref.graph.layout import Layout
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops import HANDLERS
from mipin_ref.graph.ops.norm import add_norm, instance_parameters
from mipin_ref.graph.ops.registry import Handler
from mipin_ref.graph.ops.shape import resolved_axes
from mipin_ref.layers import HostArray, Transpose
from mipin_ref.layers.activation import FUNCTIONS

MAP_RANK = 4
"""Axes of a tensor of the file over whose map an operator slides: onnxruntime has windows of three axes at most."""


@dataclass(frozen=True)
class Form:
    """How a node sees its input. maps: as [N, C, T, *map], else as [N, T, ...]; rank: of the tensor of the file; batch:
    the axis of the rows there, of maps the first; None where the file has no axis of the batch.
    """

    maps: bool
    rank: int
    batch: int | None = 0

    def axis(self, axis: int) -> int:
        """An axis of the file, counted as the node now has to."""
        (place,) = resolved_axes(np.array(axis), self.rank)
        if place == self.batch:
            raise Refused("it works along the batch, which holds several rows of each sample")
        return place if self.maps and place == 1 else place + 1

    def constant(self, value: HostArray) -> HostArray:
        """A constant that broadcasts against the tensor of the file, as it does against what the node now sees."""
        if not self.maps or value.ndim < 1 or value.size == 1:
            return value
        aligned = value.reshape((1,) * (self.rank - value.ndim) + value.shape)
        return aligned.reshape(*aligned.shape[:2], 1, *aligned.shape[2:])


Step = Callable[[Node, Draft, Form], None]
"""Drafts a node whose inputs are what `Form` says, as its output of the same form."""


@dataclass(frozen=True)
class Widening:
    """How an operator is followed over rows. maps: whether it works on maps, "kept" where its inputs are such."""

    step: Step
    maps: Literal["always", "kept", "never"]


def on_rows(node: Node, draft: Draft) -> None:
    """Draft a node some of whose inputs have rows folded into the batch.

    Refused where these differ from input to input, or the operator is not followed over them.
    """
    read = {name: draft.signals[name] for name in node.inputs if name in draft.signals}
    layout = _common(read)
    rows = layout.rows
    widening = WIDENINGS.get(node.qualified)
    if widening is None:
        raise Refused(
            f"the batch of its input holds {prod(rows)} rows of each sample, over which this operator is not followed"
        )
    kept = widening.maps == "kept" and all(signal.name in draft.maps for signal in read.values())
    form = Form(widening.maps == "always" or kept, max(len(signal.shape) for signal in read.values()), layout.axis)
    if layout.axis and (form.maps or len({len(signal.shape) for signal in read.values()}) > 1):
        raise Refused(f"the rows of samples are axis {layout.axis} of its input, over which it is not followed")
    seen = {name: _as_map(draft, signal) if form.maps else _as_rows(signal) for name, signal in read.items()}
    outputs = tuple(draft.inner_name(replace(node, outputs=(name,)), "map") for name in node.outputs if name)
    try:
        draft.signals.update(seen)
        widening.step(replace(node, outputs=outputs) if form.maps else node, draft, form)
    finally:
        draft.signals.update(read)
    for name, made in zip(filter(None, node.outputs), outputs, strict=True):
        result = draft.signals[made if form.maps else name]
        if form.maps:
            _turn(draft, result, name)
            draft.maps[name] = result
            result = draft.signals[name]
        place, sample = layout.axis + _added(node, draft, form, len(result.sample)), result.sample
        shape = (*sample[:place], BATCH * prod(rows), *sample[place + 1 :])
        draft.signals[name] = replace(result, shape=shape, axis=place, rows=rows)


def _added(node: Node, draft: Draft, form: Form, rank: int) -> int:
    """Axes that it adds in front of the rows, or, below zero, drops there. rank: of what it makes."""
    if form.batch is None:
        return 0
    if node.op == "Gather":
        (axis,) = resolved_axes(np.array(node.attributes.get("axis", 0)), form.rank)
        return rank - form.rank if axis < form.batch else 0
    if node.op in _MEANS and not node.attributes.get("keepdims", 1):
        told = draft.option(node, "axes", 1)
        axes = resolved_axes(np.array(_all_axes(node, draft) if told is None else told), form.rank)
        return -sum(axis < form.batch for axis in axes)
    return 0


def _common(read: Mapping[str, Signal]) -> Layout:
    """The layout of all inputs. Refused where they differ."""
    layouts = {signal.layout for signal in read.values()}
    if len(layouts) > 1:
        told = " and ".join(f"{name!r} {readable(signal.shape)}" for name, signal in read.items())
        raise Refused(f"rows of samples are folded into the batch, and not alike, in {told}")
    return layouts.pop()


def _as_rows(x: Signal) -> Signal:
    return Signal(x.name, (BATCH, *x.sample), 0)


def _as_map(draft: Draft, x: Signal) -> Signal:
    """x [N·T, C, *map] as [N, C, T, *map]."""
    if x.name not in draft.maps:
        name = f"{x.name}:map"
        while name in draft.names:
            name += "'"
        _turn(draft, _as_rows(x), name)
        draft.maps[x.name] = draft.signals[name]
    return draft.maps[x.name]


def _turn(draft: Draft, x: Signal, name: str) -> None:
    """Draft x [N, a, b, ...] as [N, b, a, ...]."""
    first, second, *rest = x.sample
    perm = (0, 2, 1, *range(3, len(x.shape)))
    draft.add(
        Transpose(
            name=name, inputs=(x.name,), output=name, in_shapes=(x.sample,), out_shape=(second, first, *rest), perm=perm
        )
    )


def _as_it_is(node: Node, draft: Draft, form: Form) -> None:
    _handler(node)(_with_constants(node, draft, form.constant), draft)


def _handler(node: Node) -> Handler:
    return HANDLERS[node.qualified]


def _with_constants(node: Node, draft: Draft, change: Callable[[HostArray], HostArray]) -> Node:
    """The node with its constants changed, under names of their own."""
    inputs = []
    for place, name in enumerate(node.inputs):
        value = draft.constants.get(name)
        changed = None if value is None else change(value)
        inputs.append(name if changed is None or changed is value else _constant(node, draft, f"{place}", changed))
    return replace(node, inputs=tuple(inputs))


def _constant(node: Node, draft: Draft, role: str, value: HostArray) -> str:
    name = draft.inner_name(node, f"constant {role}")
    draft.constants[name] = value
    return name


def _with_inputs(node: Node, inputs: Mapping[int, str]) -> Node:
    """The node with other names at some places of its inputs, left out in between."""
    count = max([len(node.inputs), *(place + 1 for place in inputs)])
    return replace(node, inputs=tuple(inputs.get(place, node.input(place)) for place in range(count)))


def _with(node: Node, **attributes: Any) -> Node:
    return replace(node, attributes={**node.attributes, **attributes})


def _along(default: int | None) -> Step:
    """An operator with an attribute `axis`."""

    def step(node: Node, draft: Draft, form: Form) -> None:
        axis = node.attributes.get("axis", default)
        _handler(node)(_with(node, axis=form.axis(int(axis))), draft)

    return step


def _concat(node: Node, draft: Draft, form: Form) -> None:
    """Where the file has no axis of the batch, constants have none either."""
    beside = node if form.batch is not None else _with_constants(node, draft, lambda value: value[None])
    _along(None)(beside, draft, form)


def _softmax(node: Node, draft: Draft, form: Form) -> None:
    axis = int(node.attributes.get("axis", -1 if draft.opset >= 13 else 1))
    _handler(node)(_with(node, axis=form.axis(axis)), draft)


def _with_axes(place: int, default: Callable[[Node, Draft], Sequence[int]]) -> Step:
    """An operator with several axes, an attribute `axes` or input `place`."""

    def step(node: Node, draft: Draft, form: Form) -> None:
        told = draft.option(node, "axes", place)
        axes = [form.axis(int(axis)) for axis in (default(node, draft) if told is None else np.ravel(told))]
        if "axes" in node.attributes or (told is None and len(node.inputs) < 2):
            _handler(node)(_with(node, axes=axes), draft)
            return
        name = _constant(node, draft, "axes", np.array(axes, np.int64))
        _handler(node)(_with_inputs(node, {place: name}), draft)

    return step


def _all_axes(node: Node, draft: Draft) -> Sequence[int]:
    return () if node.attributes.get("noop_with_empty_axes", 0) else (0,)


def _first_axes(node: Node, draft: Draft) -> Sequence[int]:
    starts = draft.option(node, "starts", 1)
    return range(0 if starts is None else starts.size)


def _matmul(node: Node, draft: Draft, form: Form) -> None:
    left = node.inputs[0] in draft.signals
    if form.batch is not None and form.batch == form.rank - (1 if left else 2):
        raise Refused("it contracts over the batch")
    _handler(node)(node, draft)


def _gemm(node: Node, draft: Draft, form: Form) -> None:
    """A matrix product and a sum: Gemm has two axes alone."""
    a, b = node.inputs[:2]
    if a not in draft.signals or b in draft.signals or node.attributes.get("transA", 0) or form.batch == 1:
        raise Refused("it contracts over the batch, or over what depends on the input")
    matrix = draft.weight(b)
    if matrix.ndim != 2:
        raise Refused(f"weight {matrix.shape} is no matrix")
    turned = matrix.T if node.attributes.get("transB", 0) else matrix
    weight = _constant(node, draft, "weight", float(node.attributes.get("alpha", 1.0)) * turned)
    beta = float(node.attributes.get("beta", 1.0))
    added = bool(node.input(2) and beta)
    product = draft.inner_name(node, "product") if added else node.outputs[0]
    bare = replace(node, attributes={})
    HANDLERS["MatMul"](replace(bare, op="MatMul", inputs=(a, weight), outputs=(product,)), draft)
    if added:
        beside = node.inputs[2] in draft.signals and beta == 1
        bias = node.inputs[2] if beside else _constant(node, draft, "bias", beta * draft.weight(node.inputs[2]))
        HANDLERS["Add"](replace(bare, op="Add", inputs=(product, bias), outputs=node.outputs), draft)


def _sliding(node: Node, draft: Draft, form: Form) -> None:
    """A window of one row."""
    if form.rank > MAP_RANK:
        raise Refused(f"its map has {form.rank - 2} axes, and rows of samples are folded into the batch")
    if "output_shape" in node.attributes:
        raise Refused("it states its output's shape, and rows of samples are folded into the batch")
    ones = {name: [1, *node.attributes[name]] for name in ("kernel_shape", "strides", "dilations") if _has(node, name)}
    if _has(node, "output_padding"):
        ones["output_padding"] = [0, *node.attributes["output_padding"]]
    if _has(node, "pads"):
        pads = [int(p) for p in node.attributes["pads"]]
        half = len(pads) // 2
        ones["pads"] = [0, *pads[:half], 0, *pads[half:]]
    inputs = {}
    if node.op in ("Conv", "ConvTranspose"):
        weight = draft.weight(node.inputs[1])
        inputs[1] = _constant(node, draft, "weight", weight.reshape(*weight.shape[:2], 1, *weight.shape[2:]))
    _handler(node)(_with_inputs(_with(node, **ones), inputs), draft)


def _has(node: Node, name: str) -> bool:
    return bool(node.attributes.get(name))


def _global_mean(node: Node, draft: Draft, form: Form) -> None:
    axes = list(range(3, form.rank + 1))
    bare = replace(node, op="ReduceMean", attributes={"axes": axes, "keepdims": 1})
    HANDLERS["ReduceMean"](bare, draft)


def _global_maximum(node: Node, draft: Draft, form: Form) -> None:
    x = draft.signals[node.inputs[0]]
    HANDLERS["MaxPool"](replace(node, op="MaxPool", attributes={"kernel_shape": [1, *x.shape[3:]]}), draft)


def _on_map(node: Node, draft: Draft, form: Form) -> None:
    _handler(node)(node, draft)


def _instance_norm(node: Node, draft: Draft, form: Form) -> None:
    x = draft.signals[node.inputs[0]]
    scale, shift, divisor = instance_parameters(node, draft, x, x.shape[3:])
    add_norm(node, draft, x, range(2, len(x.sample)), divisor, centred=True, scale=scale, shift=shift, channels=1)


def _pad(node: Node, draft: Draft, form: Form) -> None:
    pads, axes = draft.option(node, "pads", 1), draft.constant(node.input(3))
    if pads is None:
        raise Refused("its pads are missing")
    chosen = range(form.rank) if axes is None else resolved_axes(axes, form.rank)
    if pads.size != 2 * len(chosen):
        raise Refused(f"pads of shape {pads.shape} for {len(chosen)} axes")
    begin, end = np.zeros((2, form.rank + 1), np.int64)
    for axis, before, behind in zip(chosen, pads[: len(chosen)], pads[len(chosen) :], strict=True):
        if before or behind:
            begin[form.axis(axis)], end[form.axis(axis)] = before, behind
    both = np.concatenate([begin, end])
    if "pads" in node.attributes:
        _handler(node)(_with(node, pads=both.tolist()), draft)
    else:
        _handler(node)(_with_inputs(node, {1: _constant(node, draft, "pads", both), 3: ""}), draft)


def _expand(node: Node, draft: Draft, form: Form) -> None:
    wanted = draft.constant(node.inputs[1])
    if wanted is None or wanted.size > form.rank:
        raise Refused("it adds axes in front of the batch, which holds several rows of each sample")
    lengths = [1] * (form.rank - wanted.size) + [int(length) for length in wanted.ravel()]
    # Of rows there are as many as there were: an axis of the batch is longer than one.
    if form.batch is not None:
        lengths[form.batch] = 1
    _handler(node)(_with_inputs(node, {1: _constant(node, draft, "shape", np.array([1, *lengths], np.int64))}), draft)


def _tile(node: Node, draft: Draft, form: Form) -> None:
    repeats = draft.constant(node.inputs[1])
    if repeats is None or repeats.size != form.rank or repeats.ravel()[form.batch or 0] != 1:
        raise Refused("it repeats the batch, which holds several rows of each sample")
    _handler(node)(_with_inputs(node, {1: _constant(node, draft, "repeats", np.insert(repeats.ravel(), 0, 1))}), draft)


_ELEMENTWISE = (*FUNCTIONS, "Add", "Sum", "Sub", "Mul", "Div", "Neg", "Max", "Min", "Pow", "Log")
_MEANS = ("ReduceMean", "ReduceSum", "ReduceMax")
WIDENINGS: dict[str, Widening] = {
    **dict.fromkeys(_ELEMENTWISE, Widening(_as_it_is, "kept")),
    **dict.fromkeys(("Conv", "ConvTranspose", "MaxPool", "AveragePool"), Widening(_sliding, "always")),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), Widening(_as_it_is, "never")),
    "BatchNormalization": Widening(_on_map, "always"),
    "GlobalAveragePool": Widening(_global_mean, "always"),
    "GlobalMaxPool": Widening(_global_maximum, "always"),
    "InstanceNormalization": Widening(_instance_norm, "always"),
    "Gemm": Widening(_gemm, "never"),
    **dict.fromkeys(("MatMul", "MatMulInteger"), Widening(_matmul, "never")),
    **dict.fromkeys(
        ("com.microsoft.DynamicQuantizeMatMul", "com.microsoft.MatMulIntegerToFloat"), Widening(_matmul, "never")
    ),
    "Concat": Widening(_concat, "kept"),
    **dict.fromkeys(("Split", "Gather"), Widening(_along(0), "never")),
    **dict.fromkeys(("Softmax", "LogSoftmax"), Widening(_softmax, "never")),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), Widening(_along(-1), "never")),
    "LpNormalization": Widening(_along(-1), "never"),
    **dict.fromkeys(_MEANS, Widening(_with_axes(1, _all_axes), "kept")),
    "Slice": Widening(_with_axes(3, _first_axes), "kept"),
    "Pad": Widening(_pad, "kept"),
    "Expand": Widening(_expand, "never"),
    "Tile": Widening(_tile, "never"),
}
"""What is known of operators over rows."""
