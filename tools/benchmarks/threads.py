"""Fits under every number of threads of NumPy's BLAS, SciPy's BLAS and onnxruntime.

NumPy and SciPy each bring an OpenBLAS with threads of its own, and onnxruntime has a third set; each is limited
separately, in a process of its own, in turn.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from typing import Any

from threadpoolctl import ThreadpoolController

import mipin_ref as mr
from benchmarks.data import add_mnist, add_networks, add_repeats, digits, model_path
from benchmarks.environment import cpus
from benchmarks.tables import markdown, seconds, size, times
from benchmarks.timing import Process, in_child, sessions

OWNERS = ("numpy", "scipy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser, 3000)
    add_networks(parser)
    add_repeats(parser, 3)
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--counts", type=int, nargs="+", default=sorted({1, cpus()}), help="of threads (%(default)s)")


def run(options: argparse.Namespace) -> None:
    rows = []
    for network in options.networks:
        asked = {name: getattr(options, name) for name in ("samples", "target", "dtype", "memory")}
        asked |= {"network": network, "mnist": None if options.mnist is None else str(options.mnist)}
        settings = list(itertools.product(options.counts, repeat=3))
        processes: dict[tuple[int, ...], list[Process]] = {setting: [] for setting in settings}
        for _ in range(options.repeats):
            for numpy, scipy, runtime in settings:
                processes[numpy, scipy, runtime].append(
                    in_child(fit, numpy=numpy, scipy=scipy, runtime=runtime, **asked)
                )
        spent = {s: statistics.median(run.value["fit"] for run in runs) for s, runs in processes.items()}
        first = spent[settings[0]]
        for setting, runs in processes.items():
            busy = statistics.median(run.value["busy"] for run in runs)
            peak = max(run.peak for run in runs)
            rows.append(
                [
                    *(network, *map(str, setting), seconds(spent[setting]), times(first / spent[setting])),
                    *(f"{busy:.2f}", size(peak)),
                ]
            )
    print(
        f"class {options.target}, {options.samples:,} images, {options.dtype}, memory={options.memory}, medians of "
        f"{options.repeats}; CPU: seconds of all threads a second of the fit\n"
    )
    against = "/".join([str(options.counts[0])] * 3)
    head = ["network", "NumPy", "SciPy", "onnxruntime", "fit", f"{against} ÷ this", "CPU", "peak resident"]
    print(markdown(head, rows))


def fit(
    network: str,
    mnist: str | None,
    samples: int,
    target: int,
    dtype: str,
    memory: str,
    numpy: int,
    scipy: int,
    runtime: int,
) -> dict[str, Any]:
    """Seconds of the fit and of all its threads a second; numpy, scipy, runtime: how many threads each may have."""
    x, net = digits(mnist, samples), mr.load(model_path(network))
    limit(dict(zip(OWNERS, (numpy, scipy), strict=True)))
    with sessions(runtime):
        began, used = time.perf_counter(), time.process_time()
        mr.fit(net, x, target, dtype=dtype, memory=memory)
        spent = time.perf_counter() - began
        return {"fit": spent, "busy": (time.process_time() - used) / spent}


def limit(counts: dict[str, int]) -> None:
    """Limit the BLAS of each package to so many threads, for good. Raises SystemExit where one has none of its own."""
    blas = ThreadpoolController().select(user_api="blas")
    for owner, count in counts.items():
        own = [c for c in blas.lib_controllers if f"{owner}.libs" in c.filepath]
        if not own:
            raise SystemExit(f"{owner} has no BLAS of its own here: there is nothing to limit separately")
        for controller in own:
            controller.set_num_threads(count)
