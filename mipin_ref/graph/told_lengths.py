"""Lengths of samples that no sequence has: which ones, where onnxruntime did not run a recurrent operator on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto

from mipin_ref.graph.prune import pruned
from mipin_ref.graph.runtime import session
from mipin_ref.layers import HostArray

RECURRENT = ("LSTM", "GRU", "RNN")
"""Operators that are told lengths as their fifth input."""

HANDS_ON = ("Cast", "Identity", "TopK")
"""What may stand between lengths and the operator, by its first output."""


def lengths_outside(proto: ModelProto, feed: Mapping[str, HostArray]) -> str | None:
    """Which length is none of the sequence that it is told of, in words; None where each is. feed: of inputs."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    for node in proto.graph.node:
        if node.op_type not in RECURRENT or len(node.input) < 5 or not node.input[4]:
            continue
        sequence, lengths = (_value(proto, str(node.input[place]), feed) for place in (0, 4))
        if sequence is None or lengths is None:
            continue
        steps, name = len(sequence), handed_on(str(node.input[4]), makers)
        wrong = lengths[(lengths < 0) | (lengths > steps)]
        if wrong.size:
            return (
                f"{name!r} holds length {int(wrong.flat[0])} of a sample, and its sequence has {steps} steps: lengths "
                f"go from 0 to {steps}"
            )
    return None


def handed_on(name: str, makers: Mapping[str, NodeProto]) -> str:
    """The tensor whose numbers another holds, in other types, or in the order that a TopK puts them in."""
    while name in makers and makers[name].op_type in HANDS_ON and name == makers[name].output[0]:
        name = str(makers[name].input[0])
    return name


def _value(proto: ModelProto, name: str, feed: Mapping[str, HostArray]) -> HostArray | None:
    """What the model makes of its inputs as a tensor; None where it cannot be run that far."""
    if name in feed:
        return feed[name]
    try:
        runtime = session(pruned(proto, name).SerializeToString())
        known = {value.name for value in runtime.get_inputs()}
        return np.asarray(runtime.run([name], {one: value for one, value in feed.items() if one in known})[0])
    except Exception:  # onnxruntime's own classes have no common base of their own.
        return None
