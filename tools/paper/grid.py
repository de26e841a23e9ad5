"""The grid pointing game on EfficientNet-Lite0 with all methods, at the last map and at the pixels.

Photographs that are in mosaics are none of those that inverses and patterns are fitted on: the mosaics of either half
of the photographs are explained by what is fitted on crops of the other. Intervals are those of photographs asked for.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.halves import Folder, Half
from paper.intervals import grouped, in_row
from paper.maps import batches, signed_map
from paper.page import Block, Table, interval
from paper.pairs_maps import CENTRE, CLASSLESS, LAST, PIXELS, gaussian, summed
from paper.pairs_rows import CAMS, MANY_PASSES, TUNED
from paper.pairs_rows import ROWS as OF_METHODS
from paper.panels import Panels
from paper.photographs import GRID
from paper.places import last_map
from paper.published import MIPIN
from paper.results import Results, or_failed

NAME = "pointing"
TITLE = "Grid pointing game on EfficientNet-Lite0"
PAPER = (
    "Beyond the paper: 2×2 mosaics of photographs of ImageNet classes; the share of a map's positive values in the "
    "cell of the class, 0.25 by chance."
)
HELP = "grid pointing game of all methods on a network of colour photographs"
KINDS = ("contribution", "attribution")
FEWEST: dict[str, dict[str, Any]] = {"smoothgrad": {"samples": 8}, "integrated-gradients": {"steps": 8}}
SEEN = f"{TUNED}, fitted on all photographs"
"""What it is worth to have seen the photographs that are explained: crops of both halves, as many."""
OF_ROWS: dict[str, tuple[str, dict[str, Any]]] = {**OF_METHODS, SEEN: OF_METHODS[TUNED]}
"""Row -> method and options of its fit."""
WITHOUT = (CLASSLESS, CENTRE)
"""Rows without an attribution method: the sum over channels of the last map's magnitudes, which is the same for every
class, and a Gaussian about the centre of a mosaic."""
MAPS = {LAST: (*OF_ROWS, CLASSLESS), PIXELS: tuple(row for row in (*OF_ROWS, CENTRE) if row not in CAMS)}
"""End of the way back -> rows that have a map there."""
ROWS = (*OF_ROWS, *WITHOUT)
MANY = {(row, LAST) for row in MANY_PASSES}
"""Parts that take ten times as long as the others, or more, and are measured where their row alone is asked for."""
BATCH = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", "--model-efficientnet", dest="model", type=Path, required=True, help="ONNX file")
    parser.add_argument("--photographs", type=Path, required=True, help="a folder of files named *_<label>.jpg")
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="all but those of many passes by default")
    parser.add_argument("--ends", nargs="+", choices=(LAST, PIXELS), default=[LAST, PIXELS])
    parser.add_argument("--classes", type=int, help="how many of a half, by file name; all recognised ones by default")
    parser.add_argument("--mosaics", type=int, default=4, help="for each class")
    parser.add_argument("--calibration", type=int, default=32, help="crops of the other half to fit on")
    parser.add_argument("--calibration-mosaics", type=float, default=0.0, help="the fraction of them in mosaics")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float32")
    parser.add_argument("--memory", default="2GB")


def part_of(row: str, end: str) -> str:
    return f"{row}, {end}"


def parts(rows: tuple[str, ...] = ROWS) -> dict[str, tuple[str, str]]:
    """Parts by name: row and end."""
    return {part_of(row, end): (row, end) for end in MAPS for row in rows if row in MAPS[end]}


def usual() -> dict[str, tuple[str, str]]:
    """The parts that are measured where no row is asked for."""
    return {part: of for part, of in parts().items() if of not in MANY}


class Subject:
    """The network, and both halves of the photographs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.net = mr.load(options.model)
        folder = Folder(self.net, options)
        self.halves, self._of_all = folder.halves(), folder.crops()
        self.at = {LAST: last_map(self.net), PIXELS: None}
        self.dtype = options.dtype
        names = ("mosaics", "calibration", "calibration_mosaics", "seed", "dtype")
        self.study = {
            "sha256": self.net.sha256,
            "photographs": len(folder.images),
            "recognised": len(folder.right),
            "asked": [len(set(half.y.tolist())) for half in self.halves],
            **{name: getattr(options, name) for name in names},
        }
        how = {"method_options": FEWEST, "dtype": options.dtype, "memory": options.memory}
        self._panels = Panels(self.net, OF_ROWS, **how)

    def given(self, row: str, end: str) -> dict[str, Any]:
        """What the result of a part depends on."""
        method, fit = OF_ROWS.get(row, (row, {}))
        return {**self.study, "fit": fit, "method": FEWEST.get(method, {}), "at": self.at[end] or ""}

    def measured(self, row: str, end: str) -> dict[str, Any]:
        """A row's scores [mosaics of both halves] by kind of map, and the photographs that they were asked for."""
        scores: dict[str, list[float]] = {kind: [] for kind in KINDS}
        empty = dict.fromkeys(KINDS, 0)
        for number, half in enumerate(self.halves):
            for rows in batches(len(half.x), BATCH):
                for kind, maps in self._maps(row, end, number, rows).items():
                    one = mr.metrics.grid_pointing_game(maps, half.cells[rows], GRID)
                    scores[kind] += one.scores.tolist()
                    empty[kind] += one.empty
        asked = [int(one) for half in self.halves for one in half.asked]
        return {"scores": {kind: of for kind, of in scores.items() if of}, "empty": empty, "asked": asked}

    def _maps(self, row: str, end: str, number: int, rows: slice) -> dict[str, Any]:
        """Maps of some of a half's mosaics, by kind."""
        half, at = self.halves[number], self.at[end]
        x, y = half.x[rows], half.y[rows]
        if row == CENTRE:
            return {KINDS[0]: gaussian(len(x), x.shape[-1])}
        if row == CLASSLESS:
            seen = mr.attribute(self.net, x, y, "gradient", at=at, dtype=self.dtype)
            return {KINDS[0]: summed(np.abs(seen.value), seen.channel_axis)}
        res = self._panel(row, end, number).explain(OF_ROWS[row][0], x, y, at=at)
        return {kind: signed_map(res, kind) for kind in KINDS}

    def _panel(self, row: str, end: str, number: int) -> mr.Panel:
        half: Half = self.halves[number]
        crops = self._of_all if row == SEEN else half.fitted_on
        return self._panels.of(row, (end, number), crops, np.unique(half.y).tolist(), at=self.at[end])


def run(options: argparse.Namespace, results: Results) -> None:
    subject = Subject(options)
    asked = usual() if options.rows is None else parts(tuple(options.rows))
    for part, (row, end) in asked.items():
        if end in options.ends:
            results.part(NAME, part, subject.given(row, end), or_failed(partial(subject.measured, row, end)))


def expected() -> list[str]:
    return list(usual())


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a method that was measured, the highest mean at the last map first: of each end and kind of map mean and
    interval; None where it has no map.
    """
    told = []
    for row in ROWS:
        there = results.parts(NAME, parts((row,)))
        measured = {parts()[part][1]: one.result for part, one in there.items() if "scores" in one.result}
        if measured:
            told.append({"method": row, **figures(measured)})
    return sorted(told, key=lambda one: (-(one["last_contribution"] or 0), -(one["pixels_contribution"] or 0)))


def figures(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures of a row, whose results are given by end."""
    made: dict[str, Any] = {}
    for end, key in ((LAST, "last"), (PIXELS, "pixels")):
        of = measured.get(end, {"scores": {}, "asked": [], "empty": {}})
        for kind in KINDS:
            scores = of["scores"].get(kind)
            made |= in_row(f"{key}_{kind}", None if scores is None else grouped(scores, of["asked"]))
            made[f"{key}_{kind}_empty"] = of["empty"].get(kind)
    return made


def values(results: Results) -> dict[str, Any]:
    """At either end the best of the other methods by A·X, and how far MIP-IN is ahead of it, with the interval."""
    told: dict[str, Any] = {}
    for end, key in ((LAST, "last"), (PIXELS, "pixels")):
        measured = {row: results.read(NAME, part_of(row, end)) for row in MAPS[end] if row not in WITHOUT}
        scores = {
            row: np.array(one.result["scores"][KINDS[0]])
            for row, one in measured.items()
            if one is not None and "scores" in one.result
        }
        others = {row: of for row, of in scores.items() if OF_ROWS[row][0] != MIPIN}
        best = max(others, key=lambda row: float(others[row].mean()), default=None)
        told[f"{key}_best"] = best
        for row, name in ((MIPIN, "default"), (TUNED, "localise")):
            lead = None
            if best is not None and row in scores and (one := measured[row]) is not None:
                lead = grouped(scores[row] - others[best], one.result["asked"])
            told |= in_row(f"{key}_{name}_ahead", lead)
    return told


def blocks(results: Results) -> list[Block]:
    there = results.parts(NAME, parts())
    if not there:
        return []
    lines = []
    for row in rows(results):
        cells = [row["method"]]
        for end in ("last", "pixels"):
            cells += [interval(row, f"{end}_{kind}") for kind in KINDS]
        lines.append(cells)
    failed = {parts()[part][0]: one.result["failed"] for part, one in there.items() if "failed" in one.result}
    lines += [[row, "failed", why, "", ""] for row, why in failed.items()]
    study = next(iter(there.values())).options
    caption = (
        f"{study['mosaics']} mosaics for each class of the {study['recognised']} of {study['photographs']} photographs "
        f"that the network recognises; those of either half are explained by what is fitted on {study['calibration']} "
        "crops of the other; in brackets the 95 % interval, by bootstrap over the photographs asked for"
    )
    head = ["method", *(f"{end}: {kind}" for end in (LAST, PIXELS) for kind in ("A·X", "A"))]
    return [Table(head, lines, caption)]
