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
from benchmarks.tables import Sheet, Told
from benchmarks.timing import Process, in_child, sessions
from measured.cells import Value

OWNERS = ("numpy", "scipy")
COLUMNS = {
    "network": "{network}",
    "NumPy": "{numpy}",
    "SciPy": "{scipy}",
    "onnxruntime": "{runtime}",
    "fit": "{time:seconds}",
    "{against} ÷ this": "{gain:times}",
    "CPU": "{busy:.2f}",
    "peak resident": "{peak:size}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser, 3000)
    add_networks(parser)
    add_repeats(parser, 3)
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--counts", type=int, nargs="+", default=sorted({1, cpus()}), help="of threads (%(default)s)")


def run(options: argparse.Namespace) -> Told:
    """A row a network and setting. gain: of the time of the first setting to this one's."""
    print(
        f"class {options.target}, {options.samples:,} images, {options.dtype}, memory={options.memory}, medians of "
        f"{options.repeats}; CPU: seconds of all threads a second of the fit\n"
    )
    against = "/".join([str(options.counts[0])] * 3)
    sheet = Sheet({key.format(against=against): template for key, template in COLUMNS.items()})
    values: dict[str, Value] = {}
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
            numpy, scipy, runtime = setting
            owners = {"numpy": numpy, "scipy": scipy, "runtime": runtime}
            gain = first / spent[setting]
            sheet.add(network=network, **owners, time=spent[setting], gain=gain, busy=busy, peak=peak)
            values[f"{network}_{numpy}_{scipy}_{runtime}"] = gain
    return {"rows": sheet.rows, "values": values}


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
