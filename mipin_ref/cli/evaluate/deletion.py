"""`mipin evaluate deletion`: areas under the deletion and insertion curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mipin_ref.cli.arguments import numbers, positive
from mipin_ref.cli.evaluate.argument import AT, MAP, Choice, Value, default_of, option_of
from mipin_ref.cli.evaluate.measure import Measure, Row
from mipin_ref.cli.evaluate.study import Study
from mipin_ref.errors import InvalidData
from mipin_ref.metrics import PixelCurve, deletion, insertion
from mipin_ref.metrics.curves import OUTPUTS
from mipin_ref.table import format_table

BLURRED = "blur"
CURVES = {"deletion": deletion, "insertion": insertion}
USUAL: Mapping[str, Any] = {kind: default_of(curve, "fill") for kind, curve in CURVES.items()}
"""What curves of images fill with where nothing is said; what is no option's default, so that saying it is heard."""


def read_fill(text: str) -> str | float | tuple[float, ...]:
    return text if text == BLURRED else numbers(text)


class DeletionMeasure(Measure):
    """Both curves, in the order of signed maps, so that what speaks against the class goes last."""

    arguments = (
        *(
            Value(
                f"{kind}_fill",
                read_fill,
                "for a missing pixel, in the scale of the network's input, or the id for a missing token (default "
                f"{usual}{', 0 where there is nothing to blur' if usual == BLURRED else ''}, of texts what fills up "
                "shorter ones)",
                "V[,V...]|blur",
            )
            for kind, usual in USUAL.items()
        ),
        Value("steps", positive, "of each curve", "N", default=default_of(deletion, "steps")),
        Choice("score", OUTPUTS, default_of(deletion, "output")),
        MAP,
        AT,
    )

    def __init__(self, study: Study) -> None:
        options, self._study, self._size = study.options, study, study.places.size
        study.held(len(study.rows), self._size, study.net.input_shape)
        self._fills = {kind: _fill(study, f"{kind}_fill", usual) for kind, usual in USUAL.items()}
        self._x = study.data[study.rows]
        self.settings: Mapping[str, Any] = {
            "samples": len(study.rows),
            "class": study.named,
            "fill": self._fills,
            "steps": options.steps,
            "score": options.score,
            "positive": False,
            "size": self._size,
        }
        steps = study.places.stepped(options.steps, None if study.tokens is None else study.tokens.longest)
        self.title = (
            f"deletion and insertion of {len(study.rows)} samples, {steps}: mean area under the "
            f"{options.score}{_of(study, options.score)} of the class as {study.named}; "
            f"deletion fill {self._told('deletion')}, insertion fill {self._told('insertion')}; "
            f"{study.described(False)}{study.places.sized}; "
            "deletion better lower, insertion higher"
        )
        # What is wrong with a fill or a score is no method's failure.
        ramp = np.arange(np.prod(self._size), dtype=np.float64).reshape(1, *self._size)
        for kind in CURVES:
            self._curve(kind, self._x[:1], ramp, study.targets[:1], steps=1)

    def _curve(self, kind: str, x: Any, maps: Any, targets: Any, steps: int) -> PixelCurve:
        tokens = self._study.tokens
        # What only fills up a text is none of its tokens.
        among = None if tokens is None else tokens.among(self._study.places.grid)[: len(x)]
        return CURVES[kind](
            self._study.net,
            x,
            self._study.places.as_grid(maps),
            targets,
            fill=self._fills[kind],
            steps=steps,
            output=self._study.options.score,
            among=among,
        )

    def _told(self, kind: str) -> str:
        """What a curve fills with, in words."""
        fill, tokens = self._fills[kind], self._study.tokens
        if isinstance(fill, str):
            return fill
        values = fill if isinstance(fill, tuple) else (fill,)
        return ", ".join(f"{value:g}" if tokens is None else tokens.called(value) for value in values)

    def row(self, name: str) -> Row | None:
        study = self._study
        parts = study.explained(name, self._x, study.targets, lambda res, _: study.placed(res, False))
        if parts is None:
            return None
        with study.failing(name):
            maps = np.concatenate(parts)
            curves = {kind: self._curve(kind, self._x, maps, study.targets, study.options.steps) for kind in CURVES}
            return {kind: _as_row(curve) for kind, curve in curves.items()}
        return None

    def table(self, rows: Mapping[str, Row]) -> str:
        cells = [
            [name, *(f"{row[kind]['mean']:.4f}" for kind in CURVES), str(row["deletion"]["flat"])]
            for name, row in rows.items()
        ]
        return format_table(["method", "deletion AUC", "insertion AUC", "maps equal everywhere"], cells)


def _fill(study: Study, option: str, usual: Any) -> Any:
    """What an option says, else what is usual: of what is no image, which nothing blurs, 0; of texts the id that fills
    up shorter ones. Raises InvalidData for a blur of what is no image.
    """
    told, ids = getattr(study.options, option), study.tokens is not None
    if study.places.flat and told == BLURRED:
        raise InvalidData(
            f"{option_of(option)} {BLURRED} is for images, and {study.options.data} holds none: give "
            f"{'an id' if ids else 'a value'}"
        )
    if told is not None:
        return told
    if not study.places.flat:
        return usual
    return 0.0 if study.tokens is None else float(study.tokens.fill)


def _as_row(curve: PixelCurve) -> Row:
    return {
        "mean": curve.mean,
        "fill": curve.fill,
        "flat": curve.flat,
        "auc": curve.auc,
        "fractions": curve.fractions,
        "curve": curve.curve,
    }


def _of(study: Study, score: str) -> str:
    """What the probability is, where it is one."""
    return f" ({study.net.probability})" if score == "probability" and study.net.probability is not None else ""
