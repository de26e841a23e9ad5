"""Models: bytes and protobuf fields of small networks; what loads must compute what onnxruntime computes."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import onnxruntime
from scipy.special import expit, softmax

import mipin_ref as mr
from fuzzing import protobuf
from fuzzing.kind import Files, Kind, WrongNumber
from fuzzing.mutate import mutated
from mipin_ref.graph.forward import logits
from training.files import MODELS

LARGEST_SEED = 4096
"""Bytes."""

LARGEST_INPUT = 1 << 24
"""Values of an input of fixed batch that is compared."""

TOLERANCE = 1e-3
"""Share of the largest output, float16 aside: weights are folded, sums reordered; inputs are thrice a unit normal."""


class Models(Kind):
    name = "model"
    batch = 150
    memory = 2 << 30

    def __init__(self) -> None:
        paths = sorted(path for path in MODELS.glob("golden_*/model.onnx") if path.stat().st_size <= LARGEST_SEED)
        self.contents = [path.read_bytes() for path in paths]

    def make(self, random: Random) -> Files:
        content = random.choice(self.contents)
        if random.random() < 0.3:
            return {"model.onnx": mutated(random, content, self.contents)}
        proto = onnx.load_model_from_string(content)
        protobuf.mutate(random, proto)
        return {"model.onnx": proto.SerializeToString(deterministic=True)}

    def ask(self, folder: Path) -> None:
        path = folder / "model.onnx"
        net = mr.load(path)
        str(net)
        x = 3 * np.random.default_rng(1).standard_normal((2, *net.input_shape), np.float32)
        _compare(net, path, x)
        res = mr.attribute(net, x.astype(net.dtype), 0, "gradient")
        if res.attribution.shape != x.shape:
            raise WrongNumber(f"the gradient has shape {res.attribution.shape}")


def _compare(net: mr.Network, path: Path, x: Any) -> None:
    try:
        runtime = _session(path)
    except Exception:  # it may refuse a part of the file that the output does not need
        return
    (given,) = (one for one in runtime.get_inputs() if one.name == net.input)
    fixed = given.shape[0] if given.shape and isinstance(given.shape[0], int) else None
    kind = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(given.type, np.float32)
    if fixed and fixed * x[0].size > LARGEST_INPUT:
        return
    x = np.resize(x, (fixed, *x.shape[1:])) if fixed else x
    try:
        (expected,) = runtime.run([net.output], {net.input: x.astype(kind)})
    except Exception:  # onnxruntime's classes have no base of their own; what it does not run contradicts nothing
        return
    try:
        actual = logits(net, x.astype(net.dtype))
    except mr.MipinError:
        return
    expected = np.asarray(expected)
    if not np.isfinite(expected).all():
        return
    actual = _behind_head(net, actual)
    if actual is None or expected.size != actual.size:
        if actual is not None:
            raise WrongNumber(f"{expected.size} outputs in onnxruntime, {actual.size} here")
        return
    apart = np.max(np.abs(actual - expected.reshape(actual.shape)), initial=0.0)
    allowed = (5e-2 if kind is np.float16 else TOLERANCE) * max(float(np.max(np.abs(expected), initial=0.0)), 1e-30)
    if not apart <= allowed:
        raise WrongNumber(f"outputs differ from onnxruntime's by {apart:.3g}, allowed {allowed:.3g}")


def _behind_head(net: mr.Network, z: Any) -> Any:
    """What the file gives for logits z; None for a head whose operators behind it are not written out here."""
    if net.removed is None:
        return z
    p = expit(z.astype(np.float64)) if net.head == "sigmoid" else softmax(z.astype(np.float64), axis=-1)
    if net.removed.behind == ():
        return p
    return np.log(np.maximum(p, 1e-300)) if net.removed.behind == (None,) else None


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
