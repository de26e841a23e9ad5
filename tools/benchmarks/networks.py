"""Networks with seeded weights, made for measurements."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]
FEATURES = "features"
"""The last feature map of `classifier`."""


def classifier(
    path: Path, shape: tuple[int, int, int] = (512, 7, 7), hidden: int = 4096, classes: int = 1000, seed: int = 0
) -> None:
    """Write VGG19's classifier behind its last feature map: Relu, Flatten, two hidden Gemms with Relu, Gemm."""
    rng = np.random.default_rng(seed)
    widths = [int(np.prod(shape)), hidden, hidden, classes]
    nodes = [helper.make_node("Relu", ["input"], [FEATURES]), helper.make_node("Flatten", [FEATURES], ["flat"])]
    weights, name = [], "flat"
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        weights += _affine(rng, f"fc{number}", (outputs, inputs), inputs)
        nodes.append(
            helper.make_node("Gemm", [name, f"fc{number}.weight", f"fc{number}.bias"], [f"fc{number}"], transB=1)
        )
        name = f"fc{number}"
        if number < 2:
            nodes.append(helper.make_node("Relu", [name], [f"relu{number}"]))
            name = f"relu{number}"
    _write(path, nodes, shape, name, classes, weights)


def conv_chain(path: Path, channels: int, depth: int, side: int, classes: int = 10, seed: int = 0) -> None:
    """Write `depth` 3×3 convolutions, padded by one, with Relu, [3, side, side] to [channels, side, side], then the
    mean over locations and a Gemm.
    """
    rng = np.random.default_rng(seed)
    nodes, weights, name, inputs = [], [], "input", 3
    for number in range(depth):
        weights += _affine(rng, f"conv{number}", (channels, inputs, 3, 3), 9 * inputs)
        given = [name, f"conv{number}.weight", f"conv{number}.bias"]
        nodes += [
            helper.make_node("Conv", given, [f"conv{number}"], kernel_shape=[3, 3], pads=[1] * 4),
            helper.make_node("Relu", [f"conv{number}"], [f"relu{number}"]),
        ]
        name, inputs = f"relu{number}", channels
    weights += _affine(rng, "dense", (classes, channels), channels)
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense.weight", "dense.bias"], ["logits"], transB=1),
    ]
    _write(path, nodes, (3, side, side), "logits", classes, weights)


def _affine(rng: np.random.Generator, name: str, shape: tuple[int, ...], inputs: int) -> list[onnx.TensorProto]:
    """Weights of variance 2 / inputs, which keep a Relu network's activations of one size, and small biases."""
    weight = rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / inputs))
    bias = rng.standard_normal(shape[:1], dtype=np.float32) * np.float32(0.1)
    return [numpy_helper.from_array(a, f"{name}.{kind}") for kind, a in (("weight", weight), ("bias", bias))]


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    shape: tuple[int, ...],
    logits: str,
    classes: int,
    weights: list[onnx.TensorProto],
) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["N", classes])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


class FeatureMaps:
    """Post-ReLU maps [count, C, H, W], made when they are asked for: sample i is row i modulo the pool's length, its
    channels turned by a step that differs from one round of the pool to the next.

    seconds: what making them took so far; passes: how many were asked for at once at the start of each pass.
    """

    def __init__(self, count: int, shape: tuple[int, int, int], pool: int = 1024, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        # A third of the values is above zero, on scales that differ between channels.
        self._pool: Floats = rng.standard_normal((pool, *shape), dtype=np.float32)
        self._pool -= np.float32(0.44)
        np.maximum(self._pool, 0, out=self._pool)
        self._pool *= rng.gamma(2.0, 0.5, (shape[0], 1, 1)).astype(np.float32)
        self._count = count
        self.seconds, self.passes = 0.0, list[int]()

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of the pool."""
        return self._pool.nbytes

    def __getitem__(self, rows: slice) -> Floats:
        began = time.perf_counter()
        start, stop, _ = rows.indices(self._count)
        pool, channels = self._pool.shape[:2]
        out = np.empty((stop - start, *self._pool.shape[1:]), np.float32)
        at = start
        while at < stop:
            turn = at // pool * 37 % channels
            first = at % pool
            count = min(stop - at, pool - first)
            block = out[at - start : at - start + count]
            block[:, turn:] = self._pool[first : first + count, : channels - turn]
            block[:, :turn] = self._pool[first : first + count, channels - turn :]
            at += count
        self.seconds += time.perf_counter() - began
        # A single sample at the start is a look at shape and dtype.
        if start == 0 and (stop > 1 or self._count == 1):
            self.passes.append(stop)
        return out
