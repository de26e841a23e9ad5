"""A candidate that is right: the golden values themselves, under the names of the manifest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import mipin_ref as mr

Array = npt.NDArray[Any]
Candidate = dict[str, Array]

PATHS = {path.parent.name: path for path in mr.golden.cases()}
NAMES = sorted(PATHS)


def read(name: str) -> mr.golden.Case:
    return mr.golden.read_case(PATHS[name])


def candidate(case: mr.golden.Case, *stages: str, dtype: str = "float64") -> Candidate:
    """Copies of the golden values of some stages, by default of all, floats in the dtype."""
    values = {}
    for tensor in case.tensors:
        if not stages or tensor.stage in stages:
            value = np.array(case.golden(tensor))
            values[tensor.name] = value if tensor.exact else value.astype(dtype)
    return values


def copied(name: str, to: Path) -> Path:
    """A copy of a case and its model; returns the case's folder."""
    shutil.copytree(PATHS[name].parent, to / name)
    return to / name / "golden"
