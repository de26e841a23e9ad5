"""What an experiment tells of its parts as numbers, for a table of figures."""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import Any

from paper.results import Results


def told(experiment: ModuleType, results: Results, options: argparse.Namespace) -> dict[str, Any]:
    """The rows of an experiment, if it has `rows`, of the networks that were asked for where it has several; values, if
    it has `values`.
    """
    asked = getattr(options, "networks", None)
    every = experiment.rows(results) if hasattr(experiment, "rows") else []
    rows = [row for row in every if asked is None or row.get("network", asked[0]) in asked]
    return {"rows": rows, "values": experiment.values(results) if hasattr(experiment, "values") else {}}


def tells(experiment: ModuleType) -> bool:
    """Whether an experiment has anything to tell so."""
    return hasattr(experiment, "rows") or hasattr(experiment, "values")
