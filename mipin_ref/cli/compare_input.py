"""What `mipin compare` is given, checked before anything is computed."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mipin_ref as mr
from mipin_ref.cli.attributor import parsed_options
from mipin_ref.cli.files import open_all
from mipin_ref.data import Samples, open_labels
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.graph.layer import Array
from mipin_ref.inverse.fit import FitOptions
from mipin_ref.inverse.options import Options
from mipin_ref.panel import MIPIN

LIMIT = 20
MOST = 200
"""Images that a page may show: its size and the memory grow with them."""
FIT_OPTIONS = ("ridge", "conv_bias", "input_mask", "local")
"""Those of MIP-IN's fit that `--option` takes."""


def make_panel(options: Namespace, net: mr.Network) -> mr.Panel:
    """The methods with their options, and the calibration samples, opened.

    Raises InvalidData for an unknown method, an option that is not of its method, and one of a method not asked for.
    """
    names = None if options.methods is None else [name.strip() for name in options.methods.split(",")]
    by_method = _options(options.option)
    fit_options = by_method.pop(MIPIN, {})
    for name in fit_options:
        if name not in FIT_OPTIONS:
            raise InvalidData(f"method {MIPIN!r} has no option {name!r}; its options are {', '.join(FIT_OPTIONS)}")
    Options(**fit_options, dtype=options.dtype)
    calibration = None
    if options.calibration is not None:
        calibration = open_all(options, options.calibration, net, options.calibration_key)
    panel = mr.Panel(
        net,
        calibration,
        names=names,
        fit_options=FitOptions(**fit_options),  # type: ignore[typeddict-item]
        method_options=by_method,
        backend=options.backend,
        dtype=options.dtype,
        memory=options.memory,
        progress=True,
    )
    idle = {*by_method, *([MIPIN] if fit_options else [])} - {*panel.names}
    if idle:
        raise InvalidData(f"--option is given for what is not among --methods: {', '.join(sorted(idle))}")
    return panel


def _options(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """METHOD.NAME=VALUE texts as options by method."""
    found: dict[str, dict[str, Any]] = {}
    for text, value in parsed_options(given, example="smoothgrad.samples=50").items():
        method, _, name = text.partition(".")
        if not method or not name:
            raise InvalidData(f"--option must look like smoothgrad.samples=50, not {text!r}")
        if name == "patterns":
            raise InvalidData(f"--option {text}: patterns come from --calibration")
        found.setdefault(method, {})[name] = value
    return found


def read_images(options: Namespace, net: mr.Network) -> tuple[Array, int]:
    """The images to show [n, *input_shape], `--limit` of them at most, and how many there are.

    Raises InvalidData for a limit above what a page may show, NaN and Inf.
    """
    limit = LIMIT if options.limit is None else options.limit
    if limit > MOST:
        raise InvalidData(f"--limit: a page shows at most {MOST} images, not {limit}")
    data: Samples = open_all(options, options.images, net, options.key)
    x = data[:limit]
    for number, one in enumerate(x):
        if not np.isfinite(one).all():
            raise InvalidData(f"{options.images}: image {number} holds NaN or Inf")
    return x, len(data)


def read_labels(options: Namespace, count: int, classes: int) -> Array | None:
    """Labels [count], None where none are given. Raises InvalidData where they are not one of the classes an image."""
    if options.labels is None:
        return None
    labels = open_labels(options.labels, options.labels_key)
    if len(labels) != count:
        raise InvalidData(f"{options.labels}: there are {len(labels)} labels for {count} images")
    if labels.max() >= classes:
        raise InvalidData(f"{options.labels}: label {labels.max()} is none of the network's {classes} classes")
    return labels


def read_class_names(path: str | None, classes: int) -> list[str]:
    """The names in a JSON file, a list or an object with `class_names`; the numbers where there is no file.

    Raises CorruptFile where it is no such JSON, InvalidData where there is not one name a class.
    """
    if path is None:
        return [str(number) for number in range(classes)]
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path}: not a JSON file ({error})") from error
    names = found.get("class_names") if isinstance(found, dict) else found
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise InvalidData(f"{path}: must be a list of class names, or an object with such a list in class_names")
    if len(names) != classes:
        raise InvalidData(f"{path}: names {len(names)} classes; the network has {classes}")
    return [str(name) for name in names]
