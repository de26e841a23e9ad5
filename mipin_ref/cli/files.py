"""Where commands read from and write to."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import mipin_ref as mr
from mipin_ref.data import Preprocessing, Samples, SharedFile, first, open_data
from mipin_ref.errors import InvalidData


def open_samples(options: Namespace, path: str, net: mr.Network) -> Samples:
    """The data of a path as the network's input, after a line on how; `--limit` samples of it.

    For a cluster they are such that workers open the path themselves.
    """
    if getattr(options, "dask", None) is not None:
        preprocessing = _preprocessing(options, path, net)
        return SharedFile(path, key=options.key, preprocessing=preprocessing, limit=options.limit)
    data = open_all(options, path, net, options.key)
    return data if options.limit is None else first(data, options.limit)


def open_all(options: Namespace, path: str, net: mr.Network, key: str | None) -> Samples:
    """All data of a path as the network's input, after a line on how; key: of the array in an .npz."""
    return open_data(path, key=key, preprocessing=_preprocessing(options, path, net))


def _preprocessing(options: Namespace, path: str, net: mr.Network) -> Preprocessing:
    found = Preprocessing(options.scale, options.mean, options.std, net.input_shape)
    print(f"{path}: {found.describe()}", flush=True)
    return found


def output_file(path: str) -> Path:
    """The path of a file to write, whose folder exists: long work must not end with nowhere to go."""
    out = Path(path)
    if not out.parent.is_dir():
        raise InvalidData(f"there is no folder {str(out.parent)!r} to write to")
    if out.is_dir():
        raise InvalidData(f"{str(out)!r} is a folder")
    return out


def folder(path: str) -> Path:
    """The folder `path`, made where it is missing."""
    out = Path(path)
    out.mkdir(parents=True, exist_ok=True)
    return out
