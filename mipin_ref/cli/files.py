"""Where commands read from and write to."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

import mipin_ref as mr
from mipin_ref.data import Preprocessing, Samples, SharedFile, first, open_data, open_labels
from mipin_ref.errors import InvalidData

Ints = npt.NDArray[np.int64]


def open_samples(options: Namespace, path: str, net: mr.Network, fitted: Fitted | None = None) -> Samples:
    """The data of a path as the network's input, after a line on how; `--limit` samples of it.

    fitted: what they are to be explained by, whose preprocessing is theirs. For a cluster they are such that workers
    open the path themselves. Raises InvalidData where an option asks for another preprocessing than the fit's.
    """
    preprocessing, told = preprocessing_of(options, net), ""
    if fitted is not None:
        preprocessing, told = fitted.preprocessing_of(preprocessing), f"; as {fitted.told}"
    print(f"{path}: {preprocessing.describe()}{told}", flush=True)
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
    return Preprocessing(options.scale, options.mean, options.std, net.input_shape)


@dataclass(frozen=True)
class Fitted:
    """A file that was fitted on data of a known preprocessing; told: that it was, in words."""

    file: str
    preprocessing: Preprocessing
    told: str

    def preprocessing_of(self, given: Preprocessing) -> Preprocessing:
        """That of the calibration data, for samples as the options describe them.

        Raises InvalidData, with both values, where the options state another number.
        """
        differs = self.preprocessing.difference(given)
        if differs is not None:
            name, there, here = differs
            raise InvalidData(
                f"--{name} {there}: {self.file!r} was fitted with {name} {here}; leave --{name} out, or fit again"
            )
        scale = self.preprocessing.scale if given.scale is None else given.scale
        return replace(self.preprocessing, scale=scale, shape=given.shape)


def folder(path: str) -> Path:
    """The folder `path`, made where it is missing."""
    out = Path(path)
    out.mkdir(parents=True, exist_ok=True)
    return out


def file_to_write(path: str) -> Path:
    """The path of a file, whose folder exists: long work must not end with nowhere to go."""
    out = Path(path)
    if not out.parent.is_dir():
        raise InvalidData(f"there is no folder {str(out.parent)!r} to write to")
    if out.is_dir():
        raise InvalidData(f"{str(out)!r} is a folder")
    return out
