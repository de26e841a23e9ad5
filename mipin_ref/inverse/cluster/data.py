"""Calibration data of a fit on a cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mipin_ref.data import Preprocessing, Samples, SharedFile, as_samples
from mipin_ref.errors import InvalidData
from mipin_ref.inverse.cluster.client import check_client, cluster_errors, held, large_graphs


class ClusterData:
    """Calibration data as the client of a cluster has them, and what becomes of them on the workers.

    given: as in `fit`, or a SharedFile, or a Dask array; preprocessing: of what is stored, None where it is not known.
    Raises InvalidData where they are not usable, and where `client` is no running Client.
    """

    def __init__(self, client: Any, given: Any, preprocessing: Preprocessing | None = None) -> None:
        check_client(client)
        self.client = client
        self._file = _shared(given, preprocessing)
        self._collection = given if _is_dask_array(given) else None
        if self._collection is not None:
            if preprocessing is not None:
                raise InvalidData("a Dask array takes no option 'preprocess'; preprocess it with Dask")
            self.samples: Samples = as_samples(_Computed(client, given))
        else:
            self.samples = self._file or as_samples(given, preprocessing)

    def shards(self, edges: Sequence[tuple[int, int]], fit: str) -> list[Any]:
        """What each shard's tasks take for its data; fit: its name among others."""
        if self._file is not None:
            return [self._file] * len(edges)
        if self._collection is None:
            return [held(self.client, self.samples[a:b], "data", fit, i) for i, (a, b) in enumerate(edges)]
        whole = self._collection
        cut = whole.rechunk((tuple(b - a for a, b in edges), *((n,) for n in whole.shape[1:])))
        with large_graphs():
            chunks: list[Any] = self.client.compute(list(cut.to_delayed().ravel()))
        return chunks


class _Computed:
    """A Dask array seen as NumPy arrays of what is sliced out of it."""

    def __init__(self, client: Any, array: Any) -> None:
        if any(np.isnan(n) for n in array.shape):
            raise InvalidData("x: a Dask array of unknown length; call its compute_chunk_sizes() first")
        self._client, self._array = client, array

    def __len__(self) -> int:
        return int(self._array.shape[0])

    def __getitem__(self, index: Any) -> Any:
        with cluster_errors():
            return self._client.compute(self._array[index]).result()


def _is_dask_array(given: Any) -> bool:
    import dask

    return bool(dask.is_dask_collection(given)) and hasattr(given, "rechunk")


def _shared(given: Any, preprocessing: Preprocessing | None) -> SharedFile | None:
    if isinstance(given, str | os.PathLike):
        return SharedFile(given) if preprocessing is None else SharedFile(given, preprocessing=preprocessing)
    return given if isinstance(given, SharedFile) else None
