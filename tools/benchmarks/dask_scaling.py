"""A fit on a local Dask cluster: two workers of one thread against one.

Wall clock tells what a quiet machine gains; on a busy one the seconds of CPU tell what it would: the time of a cluster
is at least that of its busiest worker and of the client, which solves while the workers wait.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from distributed import Client, LocalCluster

import mipin_ref as mr
from mipin_ref.data import builtin


class Measured(NamedTuple):
    """wall: seconds; client: seconds of CPU of the thread that solves, beside the scheduler's; workers: of each."""

    inverse: mr.Inverse
    wall: float
    client: float
    workers: list[float]

    @property
    def least(self) -> float:
        """Seconds that this takes on a machine with a free core for each process."""
        return self.client + max(self.workers, default=0.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mnist", type=Path, required=True, help="Keras's mnist.npz")
    parser.add_argument("--network", default="mnist_cnn")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--target", type=int, default=3)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])


def run(options: argparse.Namespace) -> None:
    with np.load(options.mnist, allow_pickle=False) as stored:
        x = stored["x_train"][: options.samples].astype(np.float32) / 255
    net = mr.load(builtin(options.network).model)
    x = x.reshape(len(x), *net.input_shape)
    print(f"{options.network}, {len(x):,} samples, class {options.target}, memory={options.memory}\n", flush=True)
    print("| workers × threads | wall | CPU of the client | CPU of each worker | client + busiest worker |")
    print("|---|---|---|---|---|")
    found = [measured(net, x, options.target, options.memory, workers) for workers in options.workers]
    first, *others = found
    for workers, other in zip(options.workers[1:], others, strict=True):
        print(
            f"\n{workers} against {options.workers[0]}: {first.wall / other.wall:.2f}× by wall clock, "
            f"{first.least / other.least:.2f}× by CPU; largest difference of a weight, relative to the largest of its "
            f"tensor: {difference(other.inverse, first.inverse):.1e}"
        )
    alone = mr.fit(net, x, options.target, memory=options.memory)
    print(f"\n{options.workers[0]} against one process without Dask: {difference(first.inverse, alone):.1e}")


def measured(net: mr.Network, x: np.ndarray, target: int, memory: str, workers: int) -> Measured:
    """One fit on a new cluster, whose workers have run a small one before: sessions and libraries are loaded."""
    with (
        LocalCluster(processes=True, n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        mr.fit(net, x[: 64 * workers], target, memory=memory, client=client)
        before, mine, began = client.run(time.process_time), time.thread_time(), time.perf_counter()
        inverse = mr.fit(net, x, target, memory=memory, client=client)
        wall, own = time.perf_counter() - began, time.thread_time() - mine
        spent = [now - before[address] for address, now in client.run(time.process_time).items()]
    found = Measured(inverse, wall, own, spent)
    each = ", ".join(f"{seconds:.1f} s" for seconds in spent)
    print(f"| {workers} × 1 | {wall:.1f} s | {own:.1f} s | {each} | {found.least:.1f} s |", flush=True)
    return found


def difference(a: mr.Inverse, b: mr.Inverse) -> float:
    """Of weights, relative to the largest weight of their tensor."""

    def largest(blocks: Sequence[np.ndarray]) -> float:
        return max(float(np.max(np.abs(block))) for block in blocks)

    return max(
        largest([x - y for x, y in zip(a.weights[name].blocks, theirs.blocks, strict=True)]) / largest(theirs.blocks)
        for name, theirs in b.weights.items()
    )
