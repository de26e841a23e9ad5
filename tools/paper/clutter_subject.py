"""One network of boxed clutter, explained on validation and test scenes: what is chosen, and how it scores."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.maps import FEWER, KINDS, Floats, Key, accuracies, batches, signed_map
from paper.places import last_map
from paper.published import MIPIN
from paper.results import Results, part_of
from paper.rows import LAST, method_of
from paper.scenes import (
    CALIBRATION_SEED,
    VALIDATION_SEED,
    Boxed,
    fit_options,
    network,
    places,
    scenes,
)
from paper.study import NAME as STUDY
from paper.study import VARIANTS, best_rows, calibration_of, fitted

CHOSEN, BY_STUDY = ", tensor chosen", "mip-in, as the study chose"
TUNED = "mip-in, preset localise" + CHOSEN
Explain = Callable[[Any, Any], mr.Attribution]


def scored(explain: Explain, of: Boxed) -> dict[str, float | None]:
    """Box accuracy of the true class's maps by kind; None where a kind is flat on every scene."""
    size = (of.x.shape[2], of.x.shape[3])
    maps = {kind: np.empty((len(of.x), *size), np.float32) for kind in KINDS}
    for rows in batches(len(of.x)):
        res = explain(of.x[rows], of.y[rows])
        for kind in KINDS:
            maps[kind][rows] = signed_map(res, kind, size)
    return accuracies(maps, of.boxes)


def tested_on(test: Boxed, explain: Explain, kind: str) -> dict[str, Any]:
    """Scores of the test scenes by one kind of map."""
    size = (test.x.shape[2], test.x.shape[3])
    maps = np.empty((len(test.x), *size), np.float32)
    for rows in batches(len(test.x)):
        maps[rows] = signed_map(explain(test.x[rows], test.y[rows]), kind, size)
    return scene_scores(maps, test)


def scene_scores(maps: Floats, test: Boxed) -> dict[str, Any]:
    """Box accuracy of maps [N, H, W]: the mean, of every scene, NaN where its box is too large, and that by chance."""
    told = mr.metrics.box_accuracy(maps, test.boxes)
    return {"test": told.mean, "scores": told.scores.tolist(), "chance": told.chance}


def best(scores: Mapping[Key, float | None]) -> Key:
    """The kind, or whatever else is scored, that scores highest. Raises ValueError where nothing does."""
    known = {key: value for key, value in scores.items() if value is not None}
    if not known:
        raise ValueError("every map is flat, so that nothing is ranked")
    return max(known, key=lambda key: known[key])


class Subject:
    """One network with its scenes and methods; nothing is composed or fitted before it is needed."""

    def __init__(self, name: str, options: argparse.Namespace, results: Results) -> None:
        self.name, self.net = name, network(name)
        self._options, self._results = options, results
        self._calibration = scenes(options, "train", options.calibration, CALIBRATION_SEED)
        self.panel = self._fitted_by({})
        self.validation = scenes(options, "train", options.validation, VALIDATION_SEED)
        self.test = scenes(options, "test", options.samples, options.seed)

    def _fitted_by(self, options: Any) -> mr.Panel:
        """All methods, MIP-IN fitted with these options; nothing is fitted yet."""
        fit: Any = {**fit_options(self._results), **options}
        return mr.Panel(
            self.net, self._calibration.x, fit_options=fit, method_options=FEWER, dtype="float32", memory="1GB"
        )

    def row(self, row: str) -> dict[str, Any]:
        """Scores of validation scenes by kind, the kind chosen, and the score of the test scenes with it."""
        try:
            if row == BY_STUDY:
                return self._by_study()
            if row == TUNED:
                return self._by_tensor(MIPIN, self._fitted_by({"preset": "localise"}))
            if row.endswith(CHOSEN):
                return self._by_tensor(row.removesuffix(CHOSEN), self.panel)
            name = method_of(row)
            at = last_map(self.net) if row.endswith(LAST) else None
            self._prepare(self.panel, name)
            return self._measured(lambda x, y: self.panel.explain(name, x, y, at=at), at)
        except (mr.MipinError, ValueError) as error:
            return {"failed": str(error)}

    def _prepare(self, panel: mr.Panel, name: str) -> None:
        if name == MIPIN:
            panel.prepare(range(self.net.classes))

    def _measured(self, explain: Explain, at: str | None) -> dict[str, Any]:
        scores = scored(explain, self.validation)
        kind = best(scores)
        return {"validation": scores, "kind": kind, "at": at or "", **tested_on(self.test, explain, kind)}

    def _by_tensor(self, name: str, panel: mr.Panel) -> dict[str, Any]:
        self._prepare(panel, name)

        def at(tensor: str) -> Explain:
            return lambda x, y: panel.explain(name, x, y, at=tensor)

        scores = {
            (tensor, kind): score
            for tensor in places(self.net)
            for kind, score in scored(at(tensor), self.validation).items()
        }
        tensor, kind = best(scores)
        by_tensor = {tensor: {k: scores[tensor, k] for k in KINDS} for tensor, _ in scores}
        chosen = {"validation": {kind: scores[tensor, kind]}, "kind": kind, "at": tensor, "all": by_tensor}
        return {**chosen, **tested_on(self.test, at(tensor), kind)}

    def _by_study(self) -> dict[str, Any]:
        chosen = next(best_rows(self._results, self.name), None)
        if chosen is None:
            raise ValueError("the study has no result yet: run `study` first")
        _, title, tensor, kind = chosen
        variant = VARIANTS[title]
        classes = sorted(set(self.test.y.tolist()))
        # The study's own fit, whatever number of scenes the other rows are fitted on.
        part = self._results.read(STUDY, part_of(self.name, title))
        assert part is not None
        count = part.options["calibration"]
        at = None if tensor == self.net.input else tensor
        calibration = calibration_of(self._options, variant, count)
        inverses = fitted(self.net, calibration, variant, classes, self._results, at)
        size = (self.test.x.shape[2], self.test.x.shape[3])
        maps = np.empty((len(self.test.x), *size), np.float32)
        for c in classes:
            rows = np.flatnonzero(self.test.y == c)
            for cut in batches(len(rows)):
                res = inverses[c].attribute(self.test.x[rows[cut]], at=tensor)
                maps[rows[cut]] = signed_map(res, kind, size)
        about = {"validation": {kind: chosen[0]}, "kind": kind, "at": tensor, "variant": title, "scenes": count}
        return {**about, **scene_scores(maps, self.test)}
