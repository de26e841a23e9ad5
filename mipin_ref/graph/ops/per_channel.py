"""A constant scale and shift: what arithmetic with constants and batch normalisation come to."""

from __future__ import annotations

import numpy as np

from mipin_ref.graph.draft import Draft, Refused, Signal, readable
from mipin_ref.graph.node import Node
from mipin_ref.graph.ops.registry import handles, layer_name
from mipin_ref.layers import Affine, HostArray


def per_sample(value: HostArray, x: Signal) -> HostArray:
    """A constant aligned with the per-sample shape of x, as float64."""
    rank = len(x.shape)
    if value.ndim > rank and any(d != 1 for d in value.shape[: value.ndim - rank]):
        raise Refused(f"a constant of shape {value.shape} does not fit one sample of {readable(x.shape)}")
    aligned = value.reshape((1,) * max(rank - value.ndim, 0) + value.shape[max(value.ndim - rank, 0) :])
    if (
        value.ndim > rank
        or any(c not in (1, d) for c, d in zip(aligned.shape, x.shape, strict=True))
        or (aligned.shape[x.axis] != 1)
    ):
        raise Refused(f"a constant of shape {value.shape} does not fit one sample of {readable(x.shape)}")
    # Folded rows are an axis of the sample.
    return (aligned if x.folded else np.squeeze(aligned, axis=x.axis)).astype(np.float64)


def add_affine(
    node: Node, draft: Draft, x: Signal, scale: HostArray, shift: HostArray, *, told: int | None = None
) -> None:
    """Draft x · scale + shift as the node's output; both constants of the rank of the sample; told: see Affine."""
    draft.add(
        Affine(
            name=layer_name(node),
            inputs=(x.name,),
            output=node.outputs[0],
            in_shapes=(x.sample,),
            out_shape=x.sample,
            scale=scale,
            shift=shift,
            told=told,
        ),
        axis=x.axis,
    )


@handles("BatchNormalization")
def batch_normalization(node: Node, draft: Draft) -> None:
    x = draft.signal(node)
    if node.attributes.get("training_mode", 0):
        raise Refused("training_mode is on: set it to 0 in the file")
    if any(node.outputs[1:]):
        raise Refused("it hands out statistics as in training: take all outputs but the first away")
    gamma, beta, mean, variance = (draft.weight(name).astype(np.float64) for name in node.inputs[1:5])
    # Up to opset 8 it might have numbers of its own for every place.
    by_place = not node.attributes.get("spatial", 1)
    if {v.shape for v in (gamma, beta, mean, variance)} != {x.sample if by_place else (x.shape[1],)}:
        raise Refused(f"its parameters do not fit {readable(x.shape) if by_place else f'{x.shape[1]} channels'}")
    scale = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    if not np.all(np.isfinite(scale)):
        raise Refused("its variance is not positive")
    shape = x.sample if by_place else (-1,) + (1,) * (len(x.shape) - 2)
    scale, shift = scale.reshape(shape), (beta - mean * scale).reshape(shape)
    add_affine(node, draft, x, scale, shift, told=1 + x.inner(1))
