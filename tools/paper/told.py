"""What an experiment tells of its parts as numbers, for a table of figures."""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import Any

from paper.results import Results

ASKED = {"network": "networks", "variant": "variants"}
"""What a row is of -> the option that says which were asked for."""


def told(experiment: ModuleType, results: Results, options: argparse.Namespace) -> dict[str, Any]:
    """The rows of an experiment, if it has `rows`, but those of networks and variants that were not asked for, which
    another command may have told; values, if it has `values`.
    """
    asked = {key: of for key, option in ASKED.items() if (of := getattr(options, option, None)) is not None}
    every = experiment.rows(results) if hasattr(experiment, "rows") else []
    rows = [row for row in every if all(row[key] in of for key, of in asked.items() if key in row)]
    return {"rows": rows, "values": experiment.values(results) if hasattr(experiment, "values") else {}}


def tells(experiment: ModuleType) -> bool:
    """Whether an experiment has anything to tell so."""
    return hasattr(experiment, "rows") or hasattr(experiment, "values")
