"""A deliberate fault of the independent implementation, and what `verify` must say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mipin_ref as mr
from mipin_ref.errors import InvalidData
from tests.golden.independent import Case, Independent


@dataclass(frozen=True)
class Mutant:
    """fault: the class that overrides a step; case: the one that must catch it, at the stage and the tensor named.

    in_float32: whether it shows in that precision too; minimum-norm weights are not determined there. cause: what
    `verify` must call it, None where it need not know.
    """

    fault: type[Independent]
    case: str
    stage: str
    first: str
    in_float32: bool = True
    cause: str | None = None


@dataclass(frozen=True)
class Caught:
    """stage, first tensor, and all that `verify` said; of a refused candidate the refusal."""

    stage: str
    first: str
    said: str


def folder_of(case: str) -> Path:
    return next(folder for folder in mr.golden.cases() if folder.parent.name == case)


def arrays(fault: type[Independent], case: str, dtype: Any) -> dict[str, np.ndarray]:
    torch.set_num_threads(1)
    candidate = fault(Case(folder_of(case), dtype)).candidate()
    return {name: array.contiguous().numpy() for name, array in candidate.items()}


def caught(fault: type[Independent], case: str, dtype: Any = torch.float64) -> Caught | None:
    """What `verify` says first; None where the fault passes."""
    candidate = arrays(fault, case, dtype)
    try:
        first = mr.golden.verify(folder_of(case), candidate).first
    except InvalidData as refusal:
        name = next((name for name in candidate if f"'{name}'" in str(refusal)), "")
        return Caught(name.split("/")[0], name, str(refusal))
    return None if first is None else Caught(first.stage, first.name, str(first))
