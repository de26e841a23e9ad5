"""The check that canonicalisation changed nothing: the file and the canonical network, run on the same random input."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnxruntime import InferenceSession

from mipin_ref.beside import like
from mipin_ref.errors import InvalidData, UnsupportedModel
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.inputs import data_inputs
from mipin_ref.graph.layout import Layout
from mipin_ref.graph.limited import run
from mipin_ref.graph.network import Network
from mipin_ref.graph.plausible import plausible
from mipin_ref.graph.problem import unsupported
from mipin_ref.graph.runtime import runtime_reason, session
from mipin_ref.layers import HostArray

RELATIVE_TOLERANCE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-9}
"""Share of the spread of the outputs: folding batch norms and padding reorders sums, nothing more."""

LEAST = 0.25
"""Share of the largest output that its spread counts as at least: what all outputs have in common has roundings too."""

ROUNDOFFS = 4
"""Units of roundoff of one, that onnxruntime's approximations of exponentials may be off."""

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
"""Types of 16 bits."""

HALF_TOLERANCE = 2e-2
"""The same where the file computes in half precision, and the network does not."""


def verify(
    net: Network,
    original: Path | ModelProto,
    bound: Bound | None = None,
    *,
    half: Collection[str] = (),
    layouts: Mapping[str, Layout] | None = None,
    seed: int = 0,
    samples: int = 3,
    apart: int | None = None,
) -> float:
    """The largest difference between the tensors of file and network, relative to the largest value of each.

    Compared are the output and, behind a head, the logits themselves where the file has them: where a Softmax or a
    Sigmoid saturates, different logits look alike. A file with external data is run as it is, for its output alone.
    original: the file, or the part of it that the output needs; bound: its inputs, where there are others; half: see
    `half_precision`; layouts: how tensors of the file hold their samples, first where nothing is said; samples: of the
    run, where the file leaves the batch free.
    Raises UnsupportedModel where a difference exceeds RELATIVE_TOLERANCE, or where onnxruntime cannot run the original.
    """
    # What the file itself makes need not be compared with it.
    sources = {} if isinstance(original, Path) or net.file is not None else _sources(net, original)
    try:
        runtime = session(str(original)) if isinstance(original, Path) else _session(original, sources)
        given = next(value for value in runtime.get_inputs() if value.name == net.input)
        fixed = given.shape[0 if bound is None else bound.axis]
        batch = fixed if isinstance(fixed, int) else samples
        if bound is None:
            kind = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(given.type, np.float32)
            bound = Bound(net.input, net.input_shape, None, np.dtype(kind))
        x = plausible(bound, batch, seed)
        held = [(layouts or {}).get(name, Layout()) for name in (net.output, *sources)]
        expected, *in_front = _outputs(runtime, [net.output, *sources], bound, x, apart, held)
    except UnsupportedModel as failure:
        raise UnsupportedModel(str(failure).replace("cannot run the network", "cannot run the file")) from failure
    except Exception as failure:  # onnxruntime's own classes have no common base of their own.
        raise UnsupportedModel(f"onnxruntime cannot run the file: {runtime_reason(failure)}") from failure
    del runtime
    try:
        actual = Recorder(net, [net.logits, *sources.values()])(
            x if bound.whole else like(x.astype(net.dtype), x)
        ).values
    except InvalidData as error:
        reason = f"of inputs drawn from a normal distribution {error}"
        padded = [problem for problem in net.problems if problem.operator == "Pad" and "-inf" in problem.reason]
        raise (unsupported(reason, padded) if padded else UnsupportedModel(reason)) from error
    scores = actual[net.logits].reshape(batch, -1)
    output = scores if net.removed is None else net.removed.output(scores)
    allowed = {
        name: HALF_TOLERANCE if bound.dtype == np.float16 or name in half else RELATIVE_TOLERANCE[net.dtype]
        for name in (net.output, *sources)
    }
    if net.removed is not None and output is not None and "Log" in net.removed.operators:
        # The logarithm of a probability that underflows has few digits or none.
        output, expected = np.exp(output), np.exp(expected)
    # Where all probabilities are small, onnxruntime's own are right to units of roundoff of one, not of the largest.
    coarse = np.float16 if allowed[net.output] == HALF_TOLERANCE else net.dtype
    floor = 0.0 if net.removed is None else ROUNDOFFS * float(np.finfo(coarse).eps) / allowed[net.output]
    errors = [] if output is None else [_error(output, expected, allowed[net.output], floor)]
    errors += [
        _error(actual[kept], one, allowed[name]) for (name, kept), one in zip(sources.items(), in_front, strict=True)
    ]
    if not errors:
        raise UnsupportedModel(
            "the parts of the output end in different operators, and their logits are not in the file: nothing tells "
            "whether it is read right"
        )
    return max(errors)


def _outputs(
    runtime: InferenceSession,
    names: Sequence[str],
    bound: Bound,
    x: HostArray,
    apart: int | None,
    layouts: Sequence[Layout],
) -> list[HostArray]:
    """What the file computes of x, samples first; where it takes so many samples a run and no others, run by run."""
    size = len(x) if apart is None else apart
    runs = [run(runtime, names, bound.feed(x[i : i + size])) for i in range(0, len(x), size)]
    return [
        np.concatenate([layout.batch_first(np.atleast_1d(_as_array(part))) for part in parts])
        for layout, parts in zip(layouts, zip(*runs, strict=True), strict=True)
    ]


def _as_array(made: Any) -> HostArray:
    """An output; of ZipMap's list of {class: score} the scores [n, classes]."""
    return np.array([list(row.values()) for row in made]) if isinstance(made, list) else np.asarray(made)


def half_precision(original: ModelProto) -> set[str]:
    """The tensors that the file computes from its input in half precision, or from such.

    Ids tell nothing of it, but the table that they pick rows of does, as weights do.
    """
    graph = original.graph
    inputs = data_inputs(graph)
    signals = {value.name for value in inputs}
    half = {value.name for value in inputs if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    weights = {one.name for one in graph.initializer if one.data_type in HALVES}
    for node in graph.node:
        casts = any(attribute.name == "to" and attribute.i in HALVES for attribute in node.attribute)
        held = any(attribute.name == "value" and attribute.t.data_type in HALVES for attribute in node.attribute)
        if not signals.intersection(node.input):
            if casts or held or (node.op_type != "Cast" and weights.intersection(node.input)):
                weights.update(node.output)
            continue
        signals.update(node.output)
        if casts or half.intersection(node.input) or weights.intersection(node.input):
            half.update(node.output)
    return half


def _error(actual: HostArray, expected: HostArray, allowed: float, floor: float = 0.0) -> float:
    """The difference relative to how far values lie apart; to LEAST of the largest, or `floor`, where that is more."""
    if expected.size != actual.size:
        raise UnsupportedModel(
            f"the file computes {expected.size} outputs where the canonical network has {actual.size}"
        )
    expected = expected.reshape(actual.shape)
    spread, largest = float(np.max(expected)) - float(np.min(expected)), float(np.max(np.abs(expected)))
    error = float(np.max(np.abs(actual - expected))) / max(spread, LEAST * largest, floor, 1e-30)
    if not error <= allowed:
        raise UnsupportedModel(
            f"the canonical network differs from the file by {error:.1e} of its outputs' spread (allowed {allowed:.0e})"
        )
    return error


def _sources(net: Network, original: ModelProto) -> dict[str, str]:
    """What the head read, as far as file and network both have it: names of the file -> names of the network."""
    made = {name for node in original.graph.node for name in node.output}
    sources = {} if net.removed is None else net.removed.sources
    return {name: kept for name, kept in sources.items() if name in made and kept in net.shapes}


def _session(original: ModelProto, sources: Collection[str]) -> InferenceSession:
    """The original with further tensors among its outputs."""
    told = list(original.graph.output)
    names = {value.name for value in told}
    original.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in sources if name not in names)
    shown = original.SerializeToString()
    del original.graph.output[:]
    original.graph.output.extend(told)
    return session(shown)
