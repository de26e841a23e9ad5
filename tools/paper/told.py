"""What an experiment tells of its parts as numbers, for a table of figures."""

from __future__ import annotations

import argparse
from types import ModuleType
from typing import Any

from paper.results import Results


def told(experiment: ModuleType, results: Results, options: argparse.Namespace) -> dict[str, Any]:
    """The rows of an experiment that has `rows`, of the networks that were asked for where it has several; values, if
    it has `values`.
    """
    asked = getattr(options, "networks", None)
    rows = [row for row in experiment.rows(results) if asked is None or row.get("network", asked[0]) in asked]
    return {"rows": rows, "values": experiment.values(results) if hasattr(experiment, "values") else {}}
