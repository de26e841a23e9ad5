"""`mipin evaluate grid`: the grid pointing game on mosaics of the samples that the network gets right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mipin_ref.cli.arguments import index, positive
from mipin_ref.cli.evaluate.argument import AT, MAP, SEED, Value, default_of
from mipin_ref.cli.evaluate.measure import Measure, Row
from mipin_ref.cli.evaluate.study import Array, Ints, Study
from mipin_ref.errors import InvalidData
from mipin_ref.metrics import GridPointingGame, arranged_mosaics, grid_pointing_game, tiled
from mipin_ref.metrics.pointing import SMALLEST_GRID
from mipin_ref.report.saliency import resize_maps
from mipin_ref.table import format_table

PURPOSE = int.from_bytes(b"mosaic")
"""Part of the seed: what is drawn here is not what a fit or another metric draws with the same seed."""


class GridMeasure(Measure):
    """The game needs labels, and as many classes that the network recognises as a mosaic has cells."""

    arguments = (
        Value(
            "grid",
            index,
            "cells along each side",
            "K",
            default=default_of(grid_pointing_game, "grid"),
            low=SMALLEST_GRID,
        ),
        Value("mosaics", positive, "how many", "N", default=100),
        SEED,
        MAP,
        AT,
    )

    def __init__(self, study: Study) -> None:
        options, self._study = study.options, study
        self._grid = options.grid
        if study.labels is None:
            raise InvalidData("grid needs --labels: mosaics are of images that the network gets right")
        height, width = study.size
        if height % self._grid or width % self._grid:
            raise InvalidData(f"a mosaic of {height}×{width} pixels has no {self._grid}×{self._grid} equal cells")
        right = np.flatnonzero(np.argmax(study.logits, axis=1) == study.labels)
        known = study.labels[right]
        if not len(right):
            raise InvalidData("the network gets none of the samples right; are they scaled as in training?")
        classes = sorted(set(known.tolist()) & set(options.classes or known.tolist()))
        if not classes:
            raise InvalidData("the network gets no sample of the --classes right")
        self.targets: Ints = np.resize(np.array(classes, np.int64), options.mosaics)
        study.held(options.mosaics, study.net.input_shape)
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([PURPOSE, options.seed])))
        chosen = arranged_mosaics(known, options.mosaics, rng, self._grid, classes)
        # Distinct classes: just one cell is of the target.
        self.cells: Ints = np.argmax(known[chosen] == self.targets[:, None], axis=1)
        self.mosaics = self._composed(right[chosen])
        self.settings: Mapping[str, Any] = {
            "seed": options.seed,
            "recognised": len(right),
            "classes": classes,
            "images": right[chosen],
            "targets": self.targets,
            "cells": self.cells,
        }
        self.title = (
            f"grid pointing game on {options.mosaics} mosaics of {self._grid}×{self._grid} out of {len(right)} of "
            f"{len(study.data)} samples that the network gets right, targets of {len(classes)} classes, seed "
            f"{options.seed}; {study.described(True)}, at each tensor's own size; {1 / self._grid**2:.4f} by chance, "
            "higher is better"
        )

    def _composed(self, chosen: Ints) -> Array:
        """Mosaics [M, *input_shape] of samples [M, grid²]: each resized to a cell, channel by channel."""
        study, grid = self._study, self._grid
        height, width = (side // grid for side in study.size)
        axis = study.net.channel_axis(study.net.input)
        used, where = np.unique(chosen, return_inverse=True)
        small = []
        for rows in study.cuts(len(used)):
            x = study.data[used[rows]]
            x = x if axis is None else np.moveaxis(x, axis, 1)
            planes = resize_maps(x.reshape(-1, *x.shape[-2:]), (height, width))
            small.append(planes.reshape(*x.shape[:-2], height, width))
        cells = np.concatenate(small)
        mosaics = np.stack([tiled(cells[of], grid) for of in where.reshape(chosen.shape)])
        return mosaics if axis is None else np.ascontiguousarray(np.moveaxis(mosaics, 1, axis))

    def row(self, name: str) -> Row | None:
        def played(res: Any, rows: slice) -> GridPointingGame:
            return grid_pointing_game(self._study.maps(res, True, None), self.cells[rows], self._grid)

        games = self._study.explained(name, self.mosaics, self.targets, played)
        if games is None:
            return None
        scores = np.concatenate([game.scores for game in games])
        return {
            "mean": float(scores.mean()),
            "standard_error": float(scores.std() / np.sqrt(len(scores))),
            "empty": sum(game.empty for game in games),
            "scores": scores,
        }

    def table(self, rows: Mapping[str, Row]) -> str:
        cells = [
            [name, f"{row['mean']:.4f}", f"{row['standard_error']:.4f}", str(row["empty"])]
            for name, row in rows.items()
        ]
        return format_table(["method", "in the cell", "standard error", "no positive value (score 0)"], cells)
