"""What a user asks of `explain`, and what was read for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mipin_ref.data import Samples
from mipin_ref.explain.chosen import Chosen, Fitted
from mipin_ref.explain.inputs import Inputs
from mipin_ref.explain.targets import PREDICTED
from mipin_ref.explain.texts import Texts
from mipin_ref.graph.explained import AUTO
from mipin_ref.layers import HostArray
from mipin_ref.panel.mip_in import MipIn

Tell = Callable[[str], None]
"""Takes a line for a person."""


@dataclass(frozen=True)
class Asked:
    """What a user asks for, as `explain` has it; the others say how it is run.

    key, limit, exif: see `Inputs`; calibration_key, calibration_limit: the same of the calibration samples; fitted: how
    the data were preprocessed that an option was fitted on; file: where that option was read; texts: what is known of
    tokens.
    """

    images: Any
    target: Any = PREDICTED
    method: str = MipIn.name
    at: str | None = AUTO
    calibration: Any = None
    inverse: Any = None
    top: int = 1
    preprocess: Any = None
    class_names: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    dtype: str | None = None
    memory: str | int = "2GB"
    backend: Any = "numpy"
    progress: bool = False
    key: str | None = None
    limit: int | None = None
    exif: bool = True
    calibration_key: str | None = None
    calibration_limit: int | None = None
    fitted: Fitted | None = None
    file: str | None = None
    texts: Texts | None = None


@dataclass(frozen=True, eq=False)
class Read:
    """What was read: rows that can be, why the others cannot, their logits and probabilities."""

    inputs: Inputs
    chosen: Chosen
    data: Samples
    rows: Sequence[int]
    failures: Sequence[str]
    scores: HostArray
    shares: HostArray | None
