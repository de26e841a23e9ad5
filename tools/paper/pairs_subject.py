"""A network, what it is fitted on, and scenes of several objects that it explains, row by row."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.maps import FEWER, batches
from paper.pairs_maps import LAST, PIXELS, WITHOUT, last_of, map_of, without
from paper.pairs_rows import ROWS
from paper.panels import Panels
from paper.results import Results
from paper.scenes import CALIBRATION_SEED, Boxed, fit_options, network, scenes
from training.right import right_of


def by_logit(net: mr.Network, pairs: Boxed) -> Boxed:
    """The same scenes, of each the object of the higher logit first."""
    scores, _ = net.predict(pairs.x)
    order = np.argsort(-np.take_along_axis(scores, pairs.y, axis=1), axis=1, kind="stable")
    y, boxes = np.take_along_axis(pairs.y, order, axis=1), np.take_along_axis(pairs.boxes, order[:, :, None], axis=1)
    return Boxed(pairs.x, y, boxes)


def recognised(net: mr.Network, pairs: Boxed) -> Boxed:
    """Those scenes whose two objects are the two that the network names first."""
    scores, _ = net.predict(pairs.x)
    return chosen(pairs, right_of(scores, pairs.y).all(axis=1))


def chosen(pairs: Boxed, which: Any) -> Boxed:
    """Some of the scenes: a slice, or which of them [N]."""
    return Boxed(pairs.x[which], pairs.y[which], pairs.boxes[which])


class Subject:
    """A network and what it is fitted on: --calibration scenes of two objects, which no other part sees."""

    def __init__(self, name: str, options: argparse.Namespace, results: Results) -> None:
        self.net, self._results = network(name), results
        self._calibration = scenes(options, "train", options.calibration, CALIBRATION_SEED, pairs=True)
        self.at = {LAST: last_of(name, self.net), PIXELS: None}
        self._panels = Panels(self.net, ROWS, method_options=FEWER, dtype="float32", memory="1GB")

    def given(self, row: str, end: str) -> dict[str, Any]:
        """What the maps of a row depend on, but for the scenes."""
        method, fit = ROWS.get(row, (row, {}))
        how = {"fit": fit, "method": FEWER.get(method, {}), "at": self.at[end] or ""}
        return {"sha256": self.net.sha256, "calibration": len(self._calibration.x), **how}

    def maps(self, row: str, end: str, explained: Boxed, turn: int) -> NDArray[Any]:
        """A row's maps of an object of every scene, at its own places."""
        at, size = self.at[end], (explained.x.shape[2], explained.x.shape[3])
        y, boxes = explained.y[:, turn], explained.boxes[:, turn]
        made: list[Any] = []
        for rows in batches(len(y)):
            x = explained.x[rows]
            if row in WITHOUT:
                seen = mr.attribute(self.net, x, y[rows], "gradient", at=self.at[LAST], dtype="float32")
                made.append(without(row, end, seen.value, seen.channel_axis, boxes[rows], size))
            else:
                made.append(map_of(self._panel(row, end).explain(ROWS[row][0], x, y[rows], at=at)))
        return np.concatenate(made)

    def inverses(self, row: str, end: str) -> dict[int, mr.Inverse]:
        """The inverse of every class, of a row of MIP-IN."""
        return {c: self._panel(row, end).inverse(c) for c in range(self.net.classes)}

    def _panel(self, row: str, end: str) -> mr.Panel:
        fit = {**fit_options(self._results), "at": self.at[end]}
        return self._panels.of(row, end, self._calibration.x, range(self.net.classes), **fit)
