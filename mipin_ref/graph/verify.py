"""The check that canonicalisation changed nothing: the file and the canonical network, run on the same random input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, helper
from onnxruntime import InferenceSession
from scipy.special import expit, log_softmax, softmax

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.forward import logits, session
from mipin_ref.graph.network import Network
from mipin_ref.graph.two_class import OP as TWO_CLASS
from mipin_ref.layers import HostArray as Array
from mipin_ref.layers import Reshape

RELATIVE_TOLERANCE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-9}
"""Of the largest output: folding batch norms and padding reorders sums, nothing more."""


def verify(net: Network, original: Path | ModelProto, *, seed: int = 0) -> float:
    """The largest difference between the outputs of file and network, relative to the largest output.

    original: the file, or the part of it that the output needs. Raises UnsupportedModel where the difference exceeds
    RELATIVE_TOLERANCE, or where onnxruntime cannot run the original.
    """
    try:
        wanted, runtime = _session(net, original)
        given = next(value for value in runtime.get_inputs() if value.name == net.input)
        batch = given.shape[0] if isinstance(given.shape[0], int) else 3
        kind = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(given.type, np.float32)
        x = np.random.default_rng(seed).standard_normal((batch, *net.input_shape), np.float32).astype(kind)
        (expected,) = runtime.run([wanted], {net.input: x})
    except Exception as failure:  # onnxruntime's own classes have no common base of their own.
        line = next(iter(str(failure).strip().splitlines()), type(failure).__name__)
        raise UnsupportedModel(f"onnxruntime cannot run the file: {line}") from failure
    if isinstance(expected, list):  # ZipMap's list of {class: score}
        expected = np.array([list(row.values()) for row in expected])
    del runtime
    actual = logits(net, x.astype(net.dtype))
    if wanted == net.output:
        actual = _through_softmax(net, actual)
    expected = np.asarray(expected)
    if expected.size != actual.size:
        raise UnsupportedModel(
            f"the file computes {expected.size} outputs where the canonical network has {actual.size}"
        )
    expected = expected.reshape(actual.shape)
    error = float(np.max(np.abs(actual - expected)) / max(float(np.max(np.abs(expected))), 1e-30))
    allowed = 2e-2 if kind is np.float16 else RELATIVE_TOLERANCE[net.dtype]
    if not error <= allowed:
        raise UnsupportedModel(
            f"the canonical network differs from the file by {error:.1e} of the largest output (allowed {allowed:.0e})"
        )
    return error


def _session(net: Network, original: Path | ModelProto) -> tuple[str, InferenceSession]:
    """The original with the tensor to compare: the logits themselves where the file has them, else its output.

    Behind a Softmax that saturates, different logits look alike. A file with external data is run as it is.
    """
    if isinstance(original, Path):
        return net.output, session(str(original))
    made = {name for node in original.graph.node for name in node.output}
    scores = net.logits
    for layer in reversed(net.layers):
        # A Reshape at the end may be our own.
        if layer.output == scores and scores not in made and isinstance(layer, Reshape):
            scores = layer.input
    removed = net.removed_softmax in ("Softmax", "LogSoftmax")
    if not removed or scores not in made:
        return net.output, session(original.SerializeToString())
    told = list(original.graph.output)
    del original.graph.output[:]
    original.graph.output.append(helper.make_empty_tensor_value_info(scores))
    shown = original.SerializeToString()
    del original.graph.output[:]
    original.graph.output.extend(told)
    return scores, session(shown)


def _through_softmax(net: Network, scores: Array) -> Array:
    if net.removed_softmax == "Softmax":
        return np.asarray(softmax(scores, axis=-1))
    if net.removed_softmax == "LogSoftmax":
        return np.asarray(log_softmax(scores, axis=-1))
    if net.removed_softmax == TWO_CLASS:
        return np.asarray(expit(scores))
    return scores
