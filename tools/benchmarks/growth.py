"""Time and peak memory of a fit against samples, channels and depth, on chains of 3×3 convolutions with seeded weights.

Each fit has a process of its own, which holds its images in memory; beside it runs the same process without the fit.
Its time is that of `fit` alone, its memory the peak above that of the process without. Slopes are those of a straight
line through the logarithms, over all points and over the last two: fixed costs flatten the small ones.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np

import mipin_ref as mr
from benchmarks.data import add_backend, add_repeats, add_threads
from benchmarks.networks import conv_chain
from benchmarks.sweep import Point, Sweep
from benchmarks.tables import Told, markdown
from benchmarks.timing import in_child, threads
from measured.cells import Value
from measured.units import seconds, size

AXES = ("samples", "channels", "depth")
LEAST = 1e5
"""Bytes: what two processes that do the same may differ by, and so the least that is told."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=int, nargs="+", default=[250, 500, 1000, 2000, 4000])
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--depth", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--base", type=int, nargs=3, default=[500, 16, 3], metavar=("N", "C", "D"), help="elsewhere")
    parser.add_argument("--side", type=int, default=16, help="of the image (%(default)s)")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--out", type=Path, default=Path("growth.png"), help="the chart: .png, .svg or .pdf")
    add_threads(parser)
    add_repeats(parser, 3)
    add_backend(parser)


def run(options: argparse.Namespace) -> Told:
    samples, channels, depth = options.base
    base = Point(samples, channels, depth, options.side)
    sweeps = [sweep(axis, base, sorted(getattr(options, axis)), options) for axis in AXES]
    print(
        f"conv chains on {options.side}×{options.side} images, elsewhere N = {base.samples}, {base.channels} channels, "
        f"depth {base.depth}; {options.dtype}, memory={options.memory}, {options.threads} threads, backend "
        f"{options.backend}, medians of {options.repeats}\n"
    )
    rows = [
        [one.axis, *(str(getattr(point, axis)) for axis in AXES), seconds(spent), size(held)]
        for one in sweeps
        for point, spent, held in zip(one.points, one.seconds, one.memory, strict=True)
    ]
    print(markdown(["varied", *AXES, "fit", "memory of the fit"], rows), end="\n\n")
    slopes = [
        [
            one.axis,
            *(f"{slope(one.values, values, last):.2f}" for values in (one.seconds, one.memory) for last in (0, 2)),
        ]
        for one in sweeps
    ]
    print(markdown(["slope against", "time", "time, last two", "memory", "memory, last two"], slopes))
    # Not at the top: the processes that are measured need no drawing.
    from benchmarks.growth_chart import chart

    chart(sweeps, options.out)
    print(f"\n{options.out}")
    values: dict[str, Value] = {}
    for one in sweeps:
        for what, costs in (("time", one.seconds), ("memory", one.memory)):
            steep = {"": slope(one.values, costs), "_last": slope(one.values, costs, 2)}
            values |= {f"{one.axis}_{what}{end}": None if isnan(value) else value for end, value in steep.items()}
    return {"values": values}


def slope(values: Sequence[float], costs: Sequence[float], last: int = 0) -> float:
    """d log cost / d log value of the line through all points, or through the last so many; NaN for a single one."""
    if len(values) < 2:
        return float("nan")
    return float(np.polyfit(np.log(values[-last:]), np.log(costs[-last:]), 1)[0])


def sweep(axis: str, base: Point, values: Sequence[int], options: argparse.Namespace) -> Sweep:
    points = [replace(base, **{axis: value}) for value in values]
    costs = [cost(point, options) for point in points]
    return Sweep(axis, tuple(values), tuple(points), tuple(f[0] for f in costs), tuple(f[1] for f in costs))


def cost(point: Point, options: argparse.Namespace) -> tuple[float, float]:
    """Median seconds of the fit, and median bytes of its process above those of one without it."""
    settings = {name: getattr(options, name) for name in ("memory", "dtype", "backend")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chain.onnx")
        conv_chain(path, point.channels, point.depth, point.side)
        asked = {"model": str(path), "samples": point.samples, "count": options.threads, **settings}
        idle = statistics.median(in_child(fit, **asked, fitted=False).peak for _ in range(options.repeats))
        runs = [in_child(fit, **asked, fitted=True) for _ in range(options.repeats)]
    return statistics.median(r.value for r in runs), max(LEAST, statistics.median(r.peak for r in runs) - idle)


def fit(model: str, samples: int, count: int, memory: str, dtype: str, backend: str, fitted: bool) -> float:
    """Seconds of a fit of logit 0; without `fitted`, of nothing, after all that precedes a fit."""
    with threads(count):
        net = mr.load(model)
        x = np.random.default_rng(1).random((samples, *net.input_shape), dtype=np.float32)
        began = time.perf_counter()
        if fitted:
            mr.fit(net, x, 0, memory=memory, dtype=dtype, backend=backend)
        return time.perf_counter() - began
