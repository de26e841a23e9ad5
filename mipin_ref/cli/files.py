"""Where commands read from."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import numpy.typing as npt

import mipin_ref as mr
from mipin_ref.data import Preprocessing, Samples, SharedFile, first, open_data, open_labels
from mipin_ref.errors import InvalidData

Ints = npt.NDArray[np.int64]


def open_samples(options: Namespace, path: str, net: mr.Network) -> Samples:
    """The data of a path as the network's input, after a line on how; `--limit` samples of it.

    For a cluster they are such that workers open the path themselves.
    """
    preprocessing = preprocessing_of(options, net)
    print(f"{path}: {preprocessing.describe()}", flush=True)
    if getattr(options, "dask", None) is not None:
        return SharedFile(path, key=options.key, preprocessing=preprocessing, limit=options.limit)
    data = open_data(path, key=options.key, preprocessing=preprocessing)
    return data if options.limit is None else first(data, options.limit)


def open_calibration(options: Namespace, net: mr.Network) -> Samples | None:
    """`--calibration-limit` samples of `--calibration`, preprocessed as all others; None where it is not given.

    Raises InvalidData where only the options that go with it are given.
    """
    key, limit = options.calibration_key, options.calibration_limit
    if options.calibration is None:
        if key is not None or limit is not None:
            raise InvalidData("--calibration-key and --calibration-limit go with --calibration")
        return None
    data = open_data(options.calibration, key=key, preprocessing=preprocessing_of(options, net))
    return data if limit is None else first(data, limit)


def labels_of(options: Namespace, net: mr.Network, samples: int) -> Ints | None:
    """The classes of the data [samples], of which `--limit` may be the first; None without `--labels`.

    Raises InvalidData where they are not one a sample, each a class of the network.
    """
    if options.labels is None:
        if options.label_key is not None:
            raise InvalidData("--label-key goes with --labels")
        return None
    found = open_labels(options.labels, options.label_key)[: options.limit]
    if len(found) != samples:
        raise InvalidData(f"{options.labels}: there are {len(found)} labels for {samples} samples")
    if found.max() >= net.classes:
        raise InvalidData(
            f"{options.labels}: labels run up to {found.max()}; the network has classes 0..{net.classes - 1}"
        )
    return found


def preprocessing_of(options: Namespace, net: mr.Network) -> Preprocessing:
    return Preprocessing(options.scale, options.mean, options.std, net.input_shape, options.exif)
