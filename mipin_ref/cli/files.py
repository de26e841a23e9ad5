"""Where commands read from and write to."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import mipin_ref as mr
from mipin_ref.data import Preprocessing, Samples, SharedFile, first, open_data


def open_samples(options: Namespace, path: str, net: mr.Network) -> Samples:
    """The data of a path as the network's input, after a line on how; `--limit` samples of it.

    For a cluster they are such that workers open the path themselves.
    """
    preprocessing = Preprocessing(options.scale, options.mean, options.std, net.input_shape)
    print(f"{path}: {preprocessing.describe()}", flush=True)
    if getattr(options, "dask", None) is not None:
        return SharedFile(path, key=options.key, preprocessing=preprocessing, limit=options.limit)
    data = open_data(path, key=options.key, preprocessing=preprocessing)
    return data if options.limit is None else first(data, options.limit)


def folder(path: str) -> Path:
    """The folder `path`, made where it is missing."""
    out = Path(path)
    out.mkdir(parents=True, exist_ok=True)
    return out
