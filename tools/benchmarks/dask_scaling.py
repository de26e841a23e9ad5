"""A fit on a local Dask cluster: two workers of one thread against one.

Wall clock tells what a quiet machine gains; on a busy one the seconds of CPU tell what it would: with a core for every
process, a fit takes at least those of its busiest worker and of the client, which solves while the workers wait.
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np
from distributed import Client, LocalCluster

import mipin_ref as mr
from benchmarks.data import NETWORKS, Floats, add_mnist, digits, model_path, unseen_digits
from benchmarks.tables import Rows, Told, markdown
from measured.units import seconds, times


class Measured(NamedTuple):
    """wall: seconds; client: seconds of CPU of its own thread, without the scheduler's; worker: of the busiest."""

    inverse: mr.Inverse
    wall: float
    client: float
    worker: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser, 20_000)
    parser.add_argument("--network", choices=NETWORKS, default="mnist_cnn")
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of one thread each (%(default)s)")


def run(options: argparse.Namespace) -> Told:
    x, net = digits(options.mnist, options.samples), mr.load(model_path(options.network))
    alone = mr.fit(net, x, options.target, memory=options.memory)
    fits = [measured(net, x, options.target, options.memory, workers) for workers in options.workers]
    first, rows, figures = fits[0], [], Rows()
    for workers, one in zip(options.workers, fits, strict=True):
        gains = first.wall / one.wall, (first.client + first.worker) / (one.client + one.worker)
        apart = difference(one.inverse, first.inverse), difference(one.inverse, alone), *explained(one.inverse, alone)
        cells = [f"{workers} × 1", *map(seconds, one[1:]), *map(times, gains), *(f"{value:.1e}" for value in apart)]
        rows.append(cells)
        names = ("wall_gain", "processor_gain", "weights", "weights_of_one_process", "source", "attribution")
        figures.append({"workers": workers, "wall": one.wall, **dict(zip(names, (*gains, *apart), strict=True))})
    base = f"{options.workers[0]} × 1"
    print(f"{options.network}, {len(x):,} images, class {options.target}, memory={options.memory}\n")
    head = ["workers × threads", "wall", "CPU of the client", "CPU of the busiest worker"]
    head += [f"wall: {base} ÷ this", f"CPU: {base} ÷ this", f"ΔW from {base}", "ΔW from one process", "ΔS", "ΔA"]
    print(markdown(head, rows))
    return {"rows": figures, "values": {f"{name}_{row['workers']}": v for row in figures for name, v in row.items()}}


def measured(net: mr.Network, x: Floats, target: int, memory: str, workers: int) -> Measured:
    """One fit on a new cluster, whose workers have run a small one before, so that libraries are loaded."""
    with (
        LocalCluster(processes=True, n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        mr.fit(net, x[: 64 * workers], target, memory=memory, client=client)
        before, mine, began = client.run(time.process_time), time.thread_time(), time.perf_counter()
        inverse = mr.fit(net, x, target, memory=memory, client=client)
        wall, own = time.perf_counter() - began, time.thread_time() - mine
        spent = [now - before[address] for address, now in client.run(time.process_time).items()]
    return Measured(inverse, wall, own, max(spent))


def difference(a: mr.Inverse, b: mr.Inverse) -> float:
    """The largest of two inverses' weights, relative to the largest weight of its tensor."""
    worst = 0.0
    for tensor, theirs in b.weights.items():
        apart = max(np.abs(x - y).max() for x, y in zip(a.weights[tensor].blocks, theirs.blocks, strict=True))
        worst = max(worst, float(apart / max(np.abs(block).max() for block in theirs.blocks)))
    return worst


def explained(a: mr.Inverse, b: mr.Inverse) -> tuple[float, float]:
    """The largest differences of source signals and of attributions of unseen digits, relative to the largest value."""
    mine, theirs = (one.attribute(unseen_digits()) for one in (a, b))
    pairs = ((mine.source, theirs.source), (mine.attribution, theirs.attribution))
    source, attribution = (float(np.abs(x - y).max() / np.abs(y).max()) for x, y in pairs)
    return source, attribution
