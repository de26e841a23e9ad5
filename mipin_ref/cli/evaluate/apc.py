"""`mipin evaluate apc`: average percentage change of the methods that have a source signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.cli.evaluate.measure import Measure, Row
from mipin_ref.cli.evaluate.study import Study
from mipin_ref.methods.method import Method
from mipin_ref.metrics.apc import APC, TOO_SMALL, Floats, changes, summary
from mipin_ref.panel.registry import METHODS
from mipin_ref.table import format_table


class ApcMeasure(Measure):
    """APC over classes, each of the samples that are labelled, or predicted, as of that class."""

    arguments = ()
    needs_layers = True

    @classmethod
    def takes(cls, method: type[Method]) -> bool:
        """Methods that have a source signal."""
        return method.signals

    def __init__(self, study: Study) -> None:
        self._study = study
        self._classes = np.unique(study.targets).tolist()
        self.settings: Mapping[str, Any] = {"classes": self._classes, "samples": len(study.rows), "class": study.named}
        self.title = (
            f"average percentage change (paper, Eq. 10 and 11) of {len(study.rows)} samples of {len(self._classes)} "
            f"classes, as {study.named}; lower is better"
        )

    def row(self, name: str) -> Row | None:
        study = self._study
        if not self.takes(METHODS[name]):
            having = " and ".join(other for other, kind in METHODS.items() if kind.signals)
            study.panel.failures[name] = f"it has no source signal; {having} have one"
            return None
        with study.failing(name):
            study.panel.ready(name, self._classes)
        changed: dict[int, Floats] = {}
        for c in self._classes:
            rows = study.rows[study.targets == c]
            parts = study.explained(name, study.samples(rows), c, self._changes)
            if parts is None:
                return None
            changed[c] = np.concatenate(parts)
        with study.failing(name):
            return _as_row(summary(changed))
        return None

    def _changes(self, res: Attribution, rows: slice) -> Floats:
        assert isinstance(res.target, int)
        return changes(self._study.network, res.target, res)

    def table(self, rows: Mapping[str, Row]) -> str:
        cells = [
            [name, *(f"{row[key]:.2%}" for key in ("apc", "positive", "median")), str(row["samples"])]
            for name, row in rows.items()
        ]
        table = format_table(["method", "APC", "positive APC", "median", "samples"], cells)
        left_out = {name: row["left_out"] for name, row in rows.items() if row["left_out"]}
        return table + "".join(
            f"\n{name}: {count} samples with |logit| < {TOO_SMALL:g} left out" for name, count in left_out.items()
        )


def _as_row(measured: APC) -> Row:
    keys = ("apc", "positive", "median", "samples")
    return {
        "apc": measured.apc,
        "positive": measured.positive,
        "median": measured.median,
        "samples": sum(row[3] for row in measured.per_class.values()),
        "left_out": measured.left_out,
        "per_class": {c: dict(zip(keys, row, strict=True)) for c, row in measured.per_class.items()},
    }
