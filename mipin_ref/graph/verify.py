"""The check that canonicalisation changed nothing: the file and the canonical network, run on the same random input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, helper
from onnxruntime import InferenceSession

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.forward import Recorder, runtime_reason, session
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray as Array

RELATIVE_TOLERANCE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-9}
"""Of the largest output: folding batch norms and padding reorders sums, nothing more."""


def verify(net: Network, original: Path | ModelProto, *, seed: int = 0, samples: int = 3) -> float:
    """The largest difference between the tensors of file and network, relative to the largest value of each.

    Compared are the output and, behind a head, the logits themselves where the file has them: where a Softmax or a
    Sigmoid saturates, different logits look alike. A file with external data is run as it is, for its output alone.
    original: the file, or the part of it that the output needs; samples: of the run, where it leaves the batch free.
    Raises UnsupportedModel where a difference exceeds RELATIVE_TOLERANCE, or where onnxruntime cannot run the original.
    """
    sources = [] if isinstance(original, Path) else _sources(net, original)
    try:
        runtime = session(str(original)) if isinstance(original, Path) else _session(original, sources)
        given = next(value for value in runtime.get_inputs() if value.name == net.input)
        batch = given.shape[0] if isinstance(given.shape[0], int) else samples
        kind = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(given.type, np.float32)
        x = np.random.default_rng(seed).standard_normal((batch, *net.input_shape), np.float32).astype(kind)
        expected, *in_front = runtime.run([net.output, *sources], {net.input: x})
    except UnsupportedModel as failure:
        raise UnsupportedModel(str(failure).replace("cannot run the network", "cannot run the file")) from failure
    except Exception as failure:  # onnxruntime's own classes have no common base of their own.
        raise UnsupportedModel(f"onnxruntime cannot run the file: {runtime_reason(failure)}") from failure
    if isinstance(expected, list):  # ZipMap's list of {class: score}
        expected = np.array([list(row.values()) for row in expected])
    del runtime
    actual = Recorder(net, [net.logits, *sources])(x.astype(net.dtype)).values
    scores = actual[net.logits].reshape(batch, -1)
    output = scores if net.removed is None else net.removed.output(scores)
    allowed = 2e-2 if kind is np.float16 else RELATIVE_TOLERANCE[net.dtype]
    expected = np.asarray(expected)
    if net.removed is not None and output is not None and "Log" in net.removed.operators:
        # The logarithm of a probability that underflows has few digits or none.
        output, expected = np.exp(output), np.exp(expected)
    errors = [] if output is None else [_error(output, expected, allowed)]
    errors += [_error(actual[name], np.asarray(one), allowed) for name, one in zip(sources, in_front, strict=True)]
    if not errors:
        raise UnsupportedModel(
            "the parts of the output end in different operators, and their logits are not in the file: nothing tells "
            "whether it is read right"
        )
    return max(errors)


def _error(actual: Array, expected: Array, allowed: float) -> float:
    if expected.size != actual.size:
        raise UnsupportedModel(
            f"the file computes {expected.size} outputs where the canonical network has {actual.size}"
        )
    expected = expected.reshape(actual.shape)
    error = float(np.max(np.abs(actual - expected)) / max(float(np.max(np.abs(expected))), 1e-30))
    if not error <= allowed:
        raise UnsupportedModel(
            f"the canonical network differs from the file by {error:.1e} of the largest output (allowed {allowed:.0e})"
        )
    return error


def _sources(net: Network, original: ModelProto) -> list[str]:
    """What the head read, as far as file and network both have it."""
    made = {name for node in original.graph.node for name in node.output}
    return [] if net.removed is None else [name for name in net.removed.sources if name in made and name in net.shapes]


def _session(original: ModelProto, sources: Sequence[str]) -> InferenceSession:
    """The original with further tensors among its outputs."""
    told = list(original.graph.output)
    names = {value.name for value in told}
    original.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in sources if name not in names)
    shown = original.SerializeToString()
    del original.graph.output[:]
    original.graph.output.extend(told)
    return session(shown)
