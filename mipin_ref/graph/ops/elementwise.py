"""Activations, local response normalisation, what only a head has, and nodes that hand their input on."""

from __future__ import annotations

from math import prod

from onnx import TensorProto

from mipin_ref.graph.draft import Draft, Log, Refused, Softmax, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.per_channel import per_sample
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.layers import Activation, ResponseNorm
from mipin_ref.layers.activation import FUNCTIONS

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
"""What a tensor may be cast to and stay one of floating-point numbers."""

UNBOUNDED = 3.4e38
"""Exporters write the largest float32, about 3.4028e38, for a bound that is not there."""


@handles(*FUNCTIONS)
def activation(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    options: dict[str, float | str] = {
        key: value if isinstance(value, str) else float(value) for key, value in node.attributes.items()
    }
    slope = None
    if node.op == "Clip":
        options = {}
        for key, index in (("min", 1), ("max", 2)):
            bound = draft.option(node, key, index)
            if bound is not None and bound.size != 1:
                raise Refused(f"its {key} has shape {bound.shape}")
            if bound is not None and abs(bound.item()) < UNBOUNDED:
                options[key] = float(bound.item())
    if node.op == "PRelu":
        slope = per_sample(draft.weight(node.inputs[1]), x)
    draft.add(
        Activation(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=x.sample,
            function=node.op,
            options=options,
            slope=slope,
        ),
        axis=x.axis,
    )


@handles("LRN")
def local_response_normalization(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    size = int(node.attributes["size"])
    if len(x.shape) != 4 or size < 1 or size % 2 == 0:
        raise Refused(f"size {size} on {readable(x.shape)}; onnxruntime takes odd sizes on [N, C, H, W]")
    options: dict[str, float | int] = {"size": size}
    for key, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)):
        options[key] = float(node.attributes.get(key, default))
    draft.add(
        ResponseNorm(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=x.sample,
            options=options,
        )
    )


@handles("Softmax", "LogSoftmax")
def softmax(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    default = -1 if draft.opset >= 13 else 1
    axis = int(node.attributes.get("axis", default)) % len(x.shape)
    features = prod(x.sample)
    # Before opset 13 every axis from `axis` on is normalised together.
    spanned = x.shape[axis] if draft.opset >= 13 else prod(x.shape[axis:])
    if axis == x.axis or (spanned != features and spanned != x.shape[axis]):
        raise Refused(f"it normalises over axis {axis} of {readable(x.shape)}, not over all classes")
    draft.add(
        Softmax(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=x.sample,
            function=node.op,
            axis=None if spanned == features else x.inner(axis),
        ),
        axis=x.axis,
    )


@handles("Log")
def log(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    draft.add(
        Log(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=x.sample,
        ),
        axis=x.axis,
    )


@handles("Identity", "Dropout", "Cast", "ai.onnx.ml.ZipMap", folded=True)
def identity(node: Node, draft: Draft) -> None:
    x = draft.signal(node, batch_first=False)
    if node.op == "Dropout":
        mode = draft.constant(node.input(2))
        if mode is not None and bool(mode):
            raise Refused("training_mode is on: set it to 0 in the file")
    if node.op == "Cast" and node.attributes["to"] not in FLOATS:
        raise Refused("it casts to a type that is not floating point")
    draft.alias(node.outputs[0], x)
