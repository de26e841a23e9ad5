"""The passes of a fit on a Dask cluster: shards of the data are tasks, and their sums are merged in a tree.

**Exactly once.** Every task is a pure function of its arguments and no sum is ever kept in a worker's state, so a task
whose result died with its worker is made again from the tasks before it. A vector that counts the shards is summed
along with them and checked on the client before anything is solved. Sums are merged two by two in the order of the
shards; how the data are cut into shards and batches depends on the fit's arguments alone. So the result is the same,
bit for bit, on any number of (like) workers, whichever of them die. A checkpoint takes a pass once the client has
solved it, and goes on likewise; to know the data again, the client reads all of them once.

**What is sent.** The network, data held in memory and the weights of each tensor are results of tasks that return their
argument: the scheduler is sent each once and keeps it, a worker gets it once, from the scheduler or from another
worker. (Scattered data would be gone with the last worker that holds them.) Data too large for the scheduler come as a
path that every worker sees, read there batch by batch, or as a Dask array, whose chunks stay on the cluster. Between
passes a shard keeps signals and recordings, each in up to KEPT_SHARE of `memory` (see shards.py); what goes beyond is
computed again, from the logits and by a forward pass.

**Memory.** `memory` is what one thread of a worker may hold while it adds up a shard. A merge holds three sets of sums,
up to 1.5 times `memory`, and results that wait for their neighbours come on top; Dask writes them to the worker's disk
when they grow too many. A task takes one thread: a worker should have as many threads as it is to use cores.

**What limits it.** The client solves while the workers wait, and a pass ends with its slowest shard.

At 1,000 workers, with S shards and B = 8 f (f + d) bytes of sums for a tensor of f regressors and d columns:

* the tree is log2(S) merges deep and each level moves B over one link: 10 · B for 1,000 shards, 10 s a GB at 1 GB/s,
  and additions of three passes over B beside it. More workers do not shorten this. A shard's own products are
  2 · rows · f (f + d) operations, so at 80 GFLOP/s they take longer than the tree where a shard has more than some
  3,000 rows: a convolution, with a row a location, has; a dense layer, with a row a sample, has not.
* the scheduler handles about 5 tasks a shard and pass at some 1 ms each, 5 s for 1,000 shards, and hands the final
  sums on to the client.
* a straggler holds up its pass. Shards have at most 1,024 samples, so that one made again costs little, but with a
  single shard a worker nothing evens out: 1,000 workers want several million samples.

VGG19, float64, one target: the input of its first dense layer has f = 4,096 and d = 25,088, B = 0.96 GB: 10 s through
the tree and as long for the additions, against 3 s for the products of a shard of 1,024 samples; the solution, 0.9
TFLOP, and 0.8 GB of weights on their way to every worker take 10 s and more. The last block has f = 9 · 512,
B = 0.19 GB, the first one 3 MB and 33 GFLOP a sample (f = 9 · 64, 224² rows), 7 minutes a shard: there the tree does
not matter.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from mipin_ref.data.seen import Extent
from mipin_ref.errors import ClusterError
from mipin_ref.inverse.cluster.client import cluster_errors, held, large_graphs, task_key
from mipin_ref.inverse.cluster.data import ClusterData
from mipin_ref.inverse.descent.weights import DeviceWeights
from mipin_ref.inverse.passes.row_store import Room
from mipin_ref.inverse.passes.run import Added
from mipin_ref.inverse.passes.shards import (
    KEPT_SHARE,
    Job,
    Kept,
    Partial,
    Shard,
    accumulate,
    alive_in,
    bounds,
    merged,
)
from mipin_ref.inverse.passes.spec import PassSpec
from mipin_ref.inverse.passes.target import TargetState
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.progress import Advance


class ClusterRunner:
    """Passes on the workers of a cluster, shard by shard; see the module for how, and for what limits them.

    Raises ClusterError where the cluster is lost or loses a part of the work, and what the tasks raise.
    """

    def __init__(self, data: ClusterData, task: FitTask) -> None:
        self._client, self._fit = data.client, uuid.uuid4().hex
        self.extent: Extent | None = None
        self._pass = 0
        self._edges = bounds(data.samples, task.memory)
        self._job = Job.of(task, len(self._edges))
        self._weights: dict[tuple[int, str], tuple[DeviceWeights, Any]] = {}
        with cluster_errors():
            self._shipped = held(self._client, self._job, "network", self._fit)
            self._data = data.shards(self._edges, self._fit)
            nothing = held(self._client, Kept.nothing(task.memory), "kept", self._fit)
        self._kept: list[Any] = [nothing] * len(self._edges)

    @property
    def room(self) -> Room:
        """That of all shards together, none of which writes files."""
        return Room(int(KEPT_SHARE * self._job.memory) * len(self._edges))

    def run(self, spec: PassSpec, state: Mapping[int, TargetState], advance: Advance) -> Added:
        self._pass += 1
        with cluster_errors():
            root, kept = self._submit(spec, state, self._send_weights(spec, state))
            try:
                self._wait([root, *kept], [0, *(b - a for a, b in self._edges)], advance)
                partial: Partial = root.result()
            except BaseException:
                self._client.cancel([root, *kept], force=True)
                raise
        added = partial.told(state, spec.problems(self._job.backend, self._job.plan))
        self.extent = partial.extent if spec.looks else self.extent
        self._kept = kept
        return added

    def _send_weights(self, spec: PassSpec, state: Mapping[int, TargetState]) -> dict[int, dict[str, Any]]:
        """The weights on the path of a pass, by target and tensor; those of later use stay sent."""
        for target, known in state.items():
            for key in [k for k in self._weights if k[0] == target and k[1] not in known.on_device]:
                del self._weights[key]
        sent: dict[int, dict[str, Any]] = {target: {} for target in state}
        for target, known in state.items():
            for tensor in (step.tensor for step in spec.path_steps(self._job.plan) if step.fitted):
                weights = known.on_device[tensor]
                there = self._weights.get((target, tensor))
                if there is None or there[0] is not weights:
                    future = held(self._client, weights, "weights", self._fit, self._pass, target, tensor)
                    self._weights[target, tensor] = there = (weights, future)
                sent[target][tensor] = there[1]
        return sent

    def _submit(
        self, spec: PassSpec, state: Mapping[int, TargetState], weights: Mapping[int, Mapping[str, Any]]
    ) -> tuple[Any, list[Any]]:
        """Futures of the whole pass's sums, and of what every shard keeps."""
        import dask

        def task(function: Any, *arguments: Any, parts: int | None = None) -> Any:
            made = dask.delayed(function, pure=False, nout=parts)
            key = task_key(function.__name__, self._fit, self._pass, next(numbers))
            return made(*arguments, dask_key_name=key)

        numbers = iter(range(1 << 62))
        common, parts, kept = held(self._client, spec, "pass", self._fit, self._pass), [], []
        for number, ((a, b), data, before) in enumerate(zip(self._edges, self._data, self._kept, strict=True)):
            rows = {t: known.rows[a:b] for t, known in state.items() if known.rows is not None}
            shard = task(Shard, number, a, b, data)
            done = task(accumulate, self._shipped, common, shard, rows, weights, before, parts=2)
            parts.append(done[0])
            kept.append(done[1])
        while len(parts) > 1:
            pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
            parts = [task(merged, self._shipped, common, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        with large_graphs():
            root, *left = self._client.compute([parts[0], *kept], optimize_graph=False)
        return root, left

    def _wait(self, futures: Sequence[Any], samples: Sequence[int], advance: Advance) -> None:
        """Until all are done, or one has failed."""
        from distributed import as_completed

        count = {future.key: number for future, number in zip(futures, samples, strict=True)}
        for future in as_completed(futures, loop=self._client.loop):
            if future.status == "error":
                raise future.exception()
            if future.status != "finished":
                raise ClusterError(f"the cluster dropped a task of the fit, which is {future.status}")
            advance(count[future.key])

    def alive(self, tensors: Sequence[str]) -> set[str]:
        with cluster_errors():
            shards = [Shard(i, *edge, None) for i, edge in enumerate(self._edges)]
            futures = self._client.map(_alive, shards, self._data, job=self._shipped, tensors=list(tensors), pure=False)
            return set().union(*self._client.gather(futures))

    def close(self) -> None:
        self._kept, self._data, self._weights = [], [], {}
        self._shipped = None


def _alive(shard: Shard, data: Any, *, job: Job, tensors: Sequence[str]) -> set[str]:
    return alive_in(job, tensors, Shard(shard.number, shard.start, shard.stop, data))
