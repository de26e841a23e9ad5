"""Where commands read from."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

import mipin_ref as mr
from mipin_ref.cli.streams import tell_error
from mipin_ref.data import (
    Preprocessing,
    Samples,
    SharedFile,
    as_samples,
    first,
    left_out_of,
    named_by,
    none_readable,
    open_data,
    open_labels,
    preprocessing_named,
    turned_of,
)
from mipin_ref.errors import InvalidData
from mipin_ref.explain.texts import TextRun
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.text import one_line

Ints = npt.NDArray[np.int64]
SOME_BROKEN = 1
"""Exit code where some of the images could not be read, and the others were explained."""


def open_samples(options: Namespace, path: str, net: mr.Network | ForwardOnly) -> Samples:
    """The data of a path as the network's input, after a line on how; `--limit` samples of it.

    For a cluster they are such that workers open the path themselves.
    """
    preprocessing = preprocessing_of(options, net)
    print(f"{path}: {preprocessing.describe()}", flush=True)
    if getattr(options, "dask", None) is not None:
        data: Samples = SharedFile(path, key=options.key, preprocessing=preprocessing, limit=options.limit)
    else:
        data = opened(net, path, options.key, preprocessing)
        data = data if options.limit is None else first(data, options.limit)
    for line in told_of(path, data):
        print(line, flush=True)
    return data


def opened(
    net: mr.Network | ForwardOnly, path: Any, key: str | None, preprocessing: Preprocessing, *, option: str = "key"
) -> Samples:
    """The data of a path, or ids that texts were made. option: that names the key. Raises InvalidData for a key where
    the network reads several inputs, by their names.
    """
    if not isinstance(path, str):
        return as_samples(path, None, whole=net.whole, inputs=net.inputs)
    if len(net.inputs) == 1:
        with named_by(option):
            return open_data(path, key=key, preprocessing=preprocessing)
    if key is not None:
        raise InvalidData(f"{path}: the network reads several inputs, each under its own name; leave the key out")
    return as_samples(path, preprocessing, inputs=net.inputs)


def told_of(path: str, data: Samples) -> list[str]:
    """What to say of data as they are opened: what their folder holds besides."""
    return [f"{path}: {left_out_of(data)}"] if left_out_of(data) else []


def told_of_turned(path: str, data: Samples) -> list[str]:
    """What to say of data once they are read: how many images were turned."""
    count = turned_of(data)
    if not count:
        return []
    were = "image was" if count == 1 else "images were"
    return [f"{path}: {count} {were} turned upright, as EXIF says (--no-exif takes them as they are stored)"]


def tell_broken(failures: Sequence[str], images: int) -> int:
    """Name the images that could not be read. Returns the exit code; raises InvalidData where none could be read."""
    if not failures:
        return 0
    if len(failures) == images:
        raise InvalidData(none_readable(failures[0], images))
    for reason in failures:
        tell_error(f"mipin: {one_line(reason)}; left out")
    tell_error(f"mipin: {len(failures)} of {images} images left out")
    return SOME_BROKEN


def open_calibration(options: Namespace, net: mr.Network | ForwardOnly, run: TextRun | None = None) -> Samples | None:
    """`--calibration-limit` samples of `--calibration`, preprocessed as all others; None where it is not given.

    run: of texts, None where there are none.

    Raises InvalidData where only the options that go with it are given.
    """
    key, limit = options.calibration_key, options.calibration_limit
    if options.calibration is None:
        if key is not None or limit is not None:
            raise InvalidData("--calibration-key and --calibration-limit go with --calibration")
        return None
    given = options.calibration if run is None else run.calibration
    data = opened(net, given, key, preprocessing_of(options, net), option="calibration_key")
    return data if limit is None else first(data, limit)


def labels_of(options: Namespace, net: mr.Network | ForwardOnly, samples: int) -> Ints | None:
    """The classes of the data [samples], of which `--limit` may be the first; None without `--labels`.

    Raises InvalidData where they are not one a sample, each a class of the network.
    """
    if options.labels is None:
        if options.label_key is not None:
            raise InvalidData("--label-key goes with --labels")
        return None
    with named_by("label_key"):
        labels = open_labels(options.labels, options.label_key)[: options.limit]
    if len(labels) != samples:
        raise InvalidData(f"{options.labels}: there are {len(labels)} labels for {samples} samples")
    if labels.max() >= net.classes:
        raise InvalidData(
            f"{options.labels}: labels run up to {labels.max()}; the network has classes 0..{net.classes - 1}"
        )
    return labels


def preprocessing_of(options: Namespace, net: mr.Network | ForwardOnly) -> Preprocessing:
    """That which the options state; bytes divided by 255 where they state none, unless the
    network reads integers.
    """
    # What a network reads as integers is no part of 255.
    asked = asked_preprocessing(options) or Preprocessing(1.0 if net.whole else None)
    return replace(asked, shape=net.input_shape, exif=options.exif)


def asked_preprocessing(options: Namespace) -> Preprocessing | None:
    """That of `--preprocess`, or of `--scale`, `--mean` and `--std`; None where none of them is given.

    Raises InvalidData where both are.
    """
    plain = Preprocessing(options.scale, options.mean, options.std)
    if options.preprocess is None:
        return plain if plain.changes_values else None
    if plain.changes_values:
        raise InvalidData("--preprocess says all of the preprocessing: leave --scale, --mean and --std out")
    return preprocessing_named(options.preprocess)
