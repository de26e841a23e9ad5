"""`mipin evaluate sensitivity`: how far apart the maps of two classes lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mipin_ref.cli.arguments import index
from mipin_ref.cli.evaluate.argument import AT, MAP, SIGNED, Value
from mipin_ref.cli.evaluate.measure import Measure, Row
from mipin_ref.cli.evaluate.study import Array, Ints, Study
from mipin_ref.errors import InvalidData
from mipin_ref.metrics import class_sensitivity
from mipin_ref.table import format_table


class SensitivityMeasure(Measure):
    """The maps of one class against those of another, by default the two that the network scores highest."""

    arguments = (
        Value("target", index, "a class for all (default each sample's highest)", "A"),
        Value("against", index, "the other (default each sample's second)", "B"),
        MAP,
        AT,
        SIGNED,
    )

    def __init__(self, study: Study) -> None:
        options = study.options
        self._study, self._size = study, study.places.size
        if study.net.classes < 2:
            raise InvalidData("class sensitivity compares two classes; the network has one")
        count = len(study.rows)
        study.held(count, self._size, self._size)
        if (options.target is None) != (options.against is None):
            raise InvalidData("--target and --against go together: the class and the one to compare it with")
        self._pair: tuple[Ints, Ints]
        if options.target is not None:
            first, second = study.net.check_target(options.target), study.net.check_target(options.against)
            if first == second:
                raise InvalidData(f"--target and --against are both {first}")
            self._pair = np.full(count, first, np.int64), np.full(count, second, np.int64)
            told = f"of class {first} and class {second}"
        else:
            order = np.argsort(-study.logits[study.rows], axis=1, kind="stable")[:, :2].astype(np.int64)
            self._pair = order[:, 0], order[:, 1]
            told = "of the two classes that the network scores highest"
        self.settings: Mapping[str, Any] = {
            "samples": count,
            "target": self._pair[0],
            "against": self._pair[1],
            "positive": not options.signed,
            "size": self._size,
        }
        self.title = (
            f"class sensitivity (paper, 6.4) of {count} samples: L2 distance between the maps {told}; "
            f"{study.described(not options.signed)}{study.places.sized}; each divided by its largest "
            "absolute value; 0 where a method ignores the class"
        )

    def row(self, name: str) -> Row | None:
        study = self._study
        with study.failing(name):
            study.panel.ready(name, np.unique(np.concatenate(self._pair)).tolist())
        first = self._maps(name, self._pair[0])
        second = None if first is None else self._maps(name, self._pair[1])
        if first is None or second is None:
            return None
        with study.failing(name):
            sensitivity = class_sensitivity(first, second)
            return {"mean": sensitivity.mean, "zero": sensitivity.zero, "distances": sensitivity.distances}
        return None

    def _maps(self, name: str, targets: Ints) -> Array | None:
        study = self._study
        positive = not study.options.signed
        parts = study.explained(name, study.samples(study.rows), targets, lambda res, _: study.placed(res, positive))
        return None if parts is None else np.concatenate(parts)

    def table(self, rows: Mapping[str, Row]) -> str:
        cells = [[name, f"{row['mean']:.4f}", str(row["zero"])] for name, row in rows.items()]
        return format_table(["method", "class sensitivity", "maps zero everywhere"], cells)
