"""What `mipin compare` is given, checked before anything is computed."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np

import mipin_ref as mr
from mipin_ref.cli.attributor import method_options
from mipin_ref.cli.files import open_calibration, preprocessing_of
from mipin_ref.data import open_data
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.inverse.fit import FitOptions
from mipin_ref.inverse.options import Options
from mipin_ref.layers import HostArray as Array
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
    by_method = method_options(options.option, options.methods)
    for method, given in by_method.items():
        if "patterns" in given:
            raise InvalidData(f"--option {method}.patterns: patterns come from --calibration")
    fit_options = by_method.pop(MIPIN, {})
    for name in fit_options:
        if name not in FIT_OPTIONS:
            raise InvalidData(f"method {MIPIN!r} has no option {name!r}; its options are {', '.join(FIT_OPTIONS)}")
    Options(**fit_options, dtype=options.dtype)
    return mr.Panel(
        net,
        open_calibration(options, net),
        names=options.methods,
        fit_options=FitOptions(**fit_options),  # type: ignore[typeddict-item]
        method_options=by_method,
        backend=options.backend,
        dtype=options.dtype,
        memory=options.memory,
        progress=True,
    )


def read_images(options: Namespace, net: mr.Network) -> tuple[Array, int]:
    """The images to show [n, *input_shape], `--limit` of them at most, and how many there are.

    Raises InvalidData for a limit above what a page may show, NaN and Inf.
    """
    limit = LIMIT if options.limit is None else options.limit
    if limit > MOST:
        raise InvalidData(f"--limit: a page shows at most {MOST} images, not {limit}")
    preprocessing = preprocessing_of(options, net)
    print(f"{options.images}: {preprocessing.describe()}", flush=True)
    data = open_data(options.images, key=options.key, preprocessing=preprocessing)
    x = data[:limit]
    for number, one in enumerate(x):
        if not np.isfinite(one).all():
            raise InvalidData(f"{options.images}: image {number} holds NaN or Inf")
    return x, len(data)


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
