"""Networks with new weights in some layers, as real as the first: each can be written as an ONNX file and read back."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.graph.emit import emit
from mipin_ref.graph.network import Network
from mipin_ref.layers import Layer

PURPOSE = int.from_bytes(b"redraw")
"""Part of every seed: a network that was itself drawn with a plain seed must not get its own weights again."""


def written(net: Network) -> bytes:
    """The canonical network as an ONNX model whose one output is the logits.

    Read back it gives the same logits; but Swish is spelt out in operators that `load` refuses.
    Raises UnsupportedModel where the weights are too large for one model.
    """
    model: bytes = emit(net, [net.logits]).SerializeToString(deterministic=True)
    return model


def redrawable(net: Network) -> tuple[str, ...]:
    """Output tensors of the layers that `redraw` changes, from the logits down.

    Of the canonical network: a batch norm that was folded goes with its Conv or Dense. Layers whose weights are all
    equal, such as a scaling of the pixels, have nothing to draw from.
    """
    return tuple(
        layer.output
        for layer in reversed(net.layers)
        if any(np.ptp(weights) > 0 for weights in layer.arrays.values() if weights.size)
    )


def redraw(net: Network, tensors: Collection[str], seed: int = 0) -> Network:
    """The network with new weights in the layers whose outputs are `tensors`.

    Each array, weights and bias by themselves, is drawn anew from a normal distribution of its own mean and standard
    deviation, as it would be initialised (Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018); a bias whose
    values are all equal stays. What a layer gets depends on seed and layer alone, not on which others are redrawn.
    sha256 is that of the network as `written` gives it, so that no inverse of the first is taken for one of the second.
    Raises InvalidData where a tensor is not in redrawable(net), or the seed is no integer from 0 on.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise InvalidData(f"the seed of redrawn weights must be an integer from 0 on, not {seed!r}")
    known = redrawable(net)
    for name in tensors:
        if name not in known:
            raise InvalidData(f"tensor {name!r} is not the output of a layer with weights to draw anew")
    return reweighted(
        net,
        {
            layer.output: _drawn(layer, np.random.default_rng([PURPOSE, seed, number]))
            for number, layer in enumerate(net.layers)
            if layer.output in tensors
        },
    )


def reweighted(net: Network, arrays: Mapping[str, Mapping[str, Any]]) -> Network:
    """The network with other trained arrays in some layers, by output and name; sha256 as `redraw` has it."""
    layers = tuple(replace(one, **arrays[one.output]) if one.output in arrays else one for one in net.layers)
    # The file itself has the old weights.
    changed = replace(net, layers=layers, file=None)
    return replace(changed, sha256=hashlib.sha256(written(changed)).hexdigest())


def _drawn(layer: Layer, rng: np.random.Generator) -> dict[str, Any]:
    return {
        role: rng.normal(weights.mean(dtype=np.float64), weights.std(dtype=np.float64), weights.shape).astype(
            weights.dtype
        )
        for role, weights in layer.arrays.items()
    }
