"""What `mipin compare` is given, checked before anything is computed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import mipin_ref as mr
from mipin_ref.cli.asked import methods_asked, told_of_left_out
from mipin_ref.cli.files import (
    open_calibration,
    preprocessing_of,
    tell_broken,
    told_of,
    told_of_turned,
)
from mipin_ref.cli.method_options import checked_fit_options, method_options
from mipin_ref.data import names_of, open_data, read_readable
from mipin_ref.errors import InvalidData
from mipin_ref.inverse.fit import FitOptions
from mipin_ref.inverse.options import Options
from mipin_ref.layers import HostArray
from mipin_ref.panel.registry import METHODS, fit_is_asked
from mipin_ref.reading import read_json, regular_file
from mipin_ref.text import printable

LIMIT = 20
MOST = 200
"""Images that a page may show: its size and the memory grow with them."""
NAME_LENGTH = 200
"""Characters of a class name, at most: a page repeats them."""


def make_panel(options: Namespace, net: mr.Network) -> mr.Panel:
    """The methods with their options, and the calibration samples, opened.

    Raises InvalidData for an unknown method, an option that is not of its method, and one of a method not asked for.
    """
    by_method = method_options(options.option, options.methods)
    asked = methods_asked(options.methods, by_method)
    fit_options: dict[str, Any] = {}
    for method, given in list(by_method.items()):
        fitting = METHODS[method].fitting if method in METHODS else None
        if fitting is not None and fitting.option in given:
            raise InvalidData(f"--option {method}.{fitting.option}: {fitting.made} come from --calibration")
        if method in METHODS and fit_is_asked([method]):
            fit_options |= checked_fit_options(method, by_method.pop(method))
    Options(**fit_options, dtype=options.dtype)
    calibration = open_calibration(options, net)
    for line in [] if calibration is None else told_of(options.calibration, calibration):
        print(line, flush=True)
    if asked.left_out:
        print(told_of_left_out(asked.left_out), flush=True)
    return mr.Panel(
        net,
        calibration,
        names=asked.names,
        fit_options=FitOptions(**fit_options),  # type: ignore[typeddict-item]
        method_options=by_method,
        backend=options.backend,
        dtype=options.dtype,
        memory=options.memory,
        progress=True,
    )


@dataclass(frozen=True, eq=False)
class Shown:
    """The images to show.

    x: [n, *input_shape]; positions: [n] of them in the data; count: how many there are in the data; first: of how many
    of them those that can be read are shown; names: [n] of their files, None of arrays; code: 1 where image files were
    left out that could not be read.
    """

    x: HostArray
    positions: Sequence[int]
    count: int
    first: int
    names: Sequence[str] | None
    code: int


def read_images(options: Namespace, net: mr.Network) -> Shown:
    """The images to show, among the first `--limit`, and a line on what was done to them.

    Raises InvalidData for a limit above what a page may show, NaN and Inf.
    """
    limit = LIMIT if options.limit is None else options.limit
    if limit > MOST:
        raise InvalidData(f"--limit: a page shows at most {MOST} images, not {limit}")
    preprocessing = preprocessing_of(options, net)
    print(f"{options.images}: {preprocessing.describe()}", flush=True)
    data = open_data(options.images, key=options.key, preprocessing=preprocessing)
    for line in told_of(options.images, data):
        print(line, flush=True)
    read = read_readable(data, 0, limit)
    code = tell_broken(read.failures, min(limit, len(data)))
    for line in told_of_turned(options.images, data):
        print(line, flush=True)
    for number, one in zip(read.positions, read.x, strict=True):
        if not np.isfinite(one).all():
            raise InvalidData(f"{options.images}: image {number} holds NaN or Inf")
    names = names_of(data)
    named = None if names is None else [names[i] for i in read.positions]
    return Shown(read.x, read.positions, len(data), min(limit, len(data)), named, code)


def read_class_names(path: str | None, classes: int) -> list[str]:
    """The names in a JSON file, a list or an object with `class_names`; the numbers where there is no file.

    What a page cannot show of a name, such as half a character, is escaped. Raises CorruptFile where it is no such
    JSON, InvalidData where there is not one name a class, or one is longer than a page has room for.
    """
    if path is None:
        return [str(number) for number in range(classes)]
    stored = read_json(regular_file(path, "a file of class names"))
    names = stored.get("class_names") if isinstance(stored, dict) else stored
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise InvalidData(f"{path}: must be a list of class names, or an object with such a list in class_names")
    if len(names) != classes:
        raise InvalidData(f"{path}: names {len(names)} classes; the network has {classes}")
    for number, name in enumerate(map(str, names)):
        if len(name) > NAME_LENGTH:
            raise InvalidData(f"{path}: name {number} has {len(name)} characters; give one of {NAME_LENGTH} at most")
    return [printable(str(name)) for name in names]
