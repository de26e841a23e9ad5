"""The cost model of the convolutional normal equations: what it chooses against what was the faster, shape by shape."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.tables import Sheet, Told
from measured.cells import Value
from mipin_ref.backend import Backend, get_backend
from mipin_ref.solve.conv_gram import ConvGram
from mipin_ref.solve.conv_problem import ConvPart, ConvProblem
from mipin_ref.window import Window

SHAPES = (
    # outputs, inputs, kernel, map of S, stride, pad
    (2, 2, 3, 30, 1, 1),
    (4, 1, 5, 24, 1, 0),
    (4, 4, 3, 4, 1, 1),
    (8, 8, 3, 8, 1, 1),
    (16, 1, 5, 24, 1, 0),
    (16, 16, 3, 6, 1, 1),
    (16, 16, 3, 56, 1, 1),
    (32, 3, 3, 112, 2, 1),
    (32, 32, 1, 14, 1, 0),
    (64, 3, 7, 16, 2, 3),
    (64, 16, 3, 22, 1, 0),
    (64, 64, 2, 10, 2, 0),
    (64, 64, 3, 7, 1, 1),
    (64, 64, 3, 56, 1, 1),
    (96, 24, 1, 28, 1, 0),
    (128, 32, 3, 14, 1, 1),
    (128, 64, 1, 14, 2, 0),
    (128, 128, 3, 7, 1, 1),
    (256, 256, 3, 4, 1, 1),
    (512, 512, 3, 4, 1, 0),
)
FORMS = ("im2col", "correlation")
COLUMNS = {
    "outputs → inputs, kernel, map of S": "{shape}",
    "im2col": "{im2col:seconds}",
    "correlation": "{correlation:seconds}",
    "chosen": "{chosen}",
    "slower than the best by": "{loss:.0%}",
}
"""Seconds an image."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=("numpy", "cupy"), default="numpy")
    parser.add_argument("--operations", type=float, default=3e10, help="about how many a measurement of im2col takes")
    parser.add_argument("--most-images", type=int, default=256)


def run(options: argparse.Namespace) -> Told:
    """One thread, float32: seconds an image of both forms, Gram and cross term."""
    backend = get_backend(options.backend, "float32")
    sheet = Sheet(COLUMNS)
    with threadpool_limits(limits=1):
        for shape in SHAPES:
            sheet.add(**row(shape, backend, options))
    return {"rows": sheet.rows}


def row(shape: tuple[int, int, int, int, int, int], backend: Backend, options: argparse.Namespace) -> dict[str, Value]:
    outputs, inputs, kernel, where, stride, pad = shape
    size = (where - 1) * stride + kernel - 2 * pad
    window = Window((kernel,) * 2, (stride,) * 2, (pad,) * 2, (pad,) * 2, (1, 1))
    part = ConvPart(window, (where,) * 2, outputs, 1)
    problem = ConvProblem((part,), (size,) * 2, inputs, 50_000, 0, False)
    images = int(max(4, min(options.most_images, options.operations / problem.cost("im2col"))))
    generator = np.random.default_rng(0)
    s = backend.put(np.maximum(generator.standard_normal((images, outputs, where, where)), 0))
    x = backend.put(generator.standard_normal((images, inputs, size, size)))
    took = {form: measured(backend, problem, form, s, x) / images for form in FORMS}
    chosen = problem.form
    loss = took[chosen] / min(took.values()) - 1
    geometry = f"{kernel}×{kernel}" + (f", stride {stride}" if stride > 1 else "") + (f", pad {pad}" if pad else "")
    return {"shape": f"{outputs} → {inputs}, {geometry}, {where}×{where}", **took, "chosen": chosen, "loss": loss}


def measured(backend: Backend, problem: ConvProblem, form: Any, s: Any, x: Any) -> float:
    """The least seconds of an update."""
    sums, best = ConvGram(backend, problem, form), float("inf")
    for _ in range(4):
        began = time.perf_counter()
        sums.update([s], x)
        backend.get(backend.zeros((1,)))
        best = min(best, time.perf_counter() - began)
    return best
