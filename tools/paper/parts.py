"""Class or photograph: grid pointing on photographs cut in two, one part explained, the other one to fit on.

With the photographs in halves, what is fitted on has seen neither the pixels that are explained nor their class. Here
the two parts of a photograph show the same object by other pixels; either is explained in turn.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.halves import Mosaics, mosaics_of
from paper.intervals import grouped, in_row
from paper.maps import signed_map
from paper.page import Block, Table, interval
from paper.photographs import GRID, Floats, Photograph, calibration, photographs, recognised_by, square_side
from paper.places import last_map
from paper.published import GRAD_CAM, MIPIN
from paper.results import Results

NAME = "parts"
TITLE = "Grid pointing game on EfficientNet-Lite0, photographs cut in two"
PAPER = "Beyond the paper: whether what is fitted on must have seen the class that is asked for, or its very pixels."
HELP = "grid pointing game of MIP-IN by what it is fitted on: other photographs, the same ones' other parts, or these"
ABSENT, PRESENT, SEEN = "parts of other photographs", "the same photographs' other parts", "the parts explained"
FITTED_ON = (ABSENT, PRESENT, SEEN)
"""What of the photographs is fitted on, alike many crops of alike many parts: without the class that is asked for, with
the class and without the pixels, with both."""
ROWS = (*FITTED_ON, GRAD_CAM)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", "--model-efficientnet", dest="model", type=Path, required=True, help="ONNX file")
    parser.add_argument("--photographs", type=Path, required=True, help="a folder of files named *_<label>.jpg")
    parser.add_argument("--mosaics", type=int, default=4, help="for each part that is asked for")
    parser.add_argument("--calibration", type=int, default=32, help="crops to fit on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float32")


def cut(one: Photograph) -> tuple[Photograph, Photograph]:
    """The two halves of a photograph along its longer side: left and right, or upper and lower."""
    height, width = one.pixels.shape[:2]
    wide, middle = width >= height, max(height, width) // 2
    first, second = (np.s_[:, :middle], np.s_[:, middle:]) if wide else (np.s_[:middle], np.s_[middle:])
    return one._replace(pixels=one.pixels[first]), one._replace(pixels=one.pixels[second])


class Subject:
    """The network, and mosaics of either part of every second photograph, with what may be fitted on for them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.net, self._options = mr.load(options.model), options
        self._side = square_side(self.net, options.model)
        self.at = last_map(self.net)
        images = photographs(options.photographs)
        self._cut = [cut(one) for one in images]
        self._places = {one.name: place for place, one in enumerate(images)}
        often = Counter(one.label for one in images)
        both = [{one.name for one in recognised_by(options.model, self.net, of)} for of in zip(*self._cut, strict=True)]
        self.asked = [one.name for one in images if often[one.label] == 1 and all(one.name in of for of in both)]
        names = ("mosaics", "calibration", "seed", "dtype")
        self.given = {
            "sha256": self.net.sha256,
            "photographs": len(images),
            "asked": len(self.asked),
            "at": self.at,
            **{name: getattr(options, name) for name in names},
        }

    def measured(self, row: str) -> dict[str, Any]:
        """The scores of a row, of all mosaics, and the photographs that they were asked for."""
        scores: list[float] = []
        asked: list[int] = []
        for turn in (0, 1):
            for part in (0, 1):
                of = self._mosaics(turn, part)
                maps = self._by_gradient(of) if row == GRAD_CAM else self._fitted(of, self._crops(row, turn, part))
                scores += mr.metrics.grid_pointing_game(maps, of.cells, GRID).scores.tolist()
                asked += of.asked.tolist()
        return {"scores": scores, "asked": asked}

    def _mosaics(self, turn: int, part: int) -> Mosaics:
        """Mosaics of one part of those that are asked for, of every second photograph."""
        shown = [pair[part] for pair in self._cut[turn::2] if pair[part].name in self.asked]
        options = self._options
        return mosaics_of(shown, self._places, mosaics=options.mosaics, seed=options.seed, side=self._side)

    def _crops(self, row: str, turn: int, part: int) -> Floats:
        """What is fitted on for such mosaics [M, 3, S, S]."""
        of = self._cut[1 - turn :: 2] if row == ABSENT else self._cut[turn::2]
        images = [pair[part if row == SEEN else 1 - part] for pair in of]
        return calibration(images, self._options.calibration, self._options.seed, self._side, 0.0)[0]

    def _by_gradient(self, of: Mosaics) -> NDArray[Any]:
        res = mr.attribute(self.net, of.x, of.y, GRAD_CAM, at=self.at, dtype=self._options.dtype)
        return signed_map(res, "contribution")

    def _fitted(self, of: Mosaics, crops: Floats) -> NDArray[Any]:
        """Maps [N, h, w] of MIP-IN at the last map."""
        classes = np.unique(of.y).tolist()
        inverses = mr.fit(self.net, crops, classes, at=self.at, preset="localise", dtype=self._options.dtype)
        made = np.empty((len(of.x), *self.net.shapes[self.at][1:]))
        for c in classes:
            made[of.y == c] = signed_map(inverses[c].attribute(of.x[of.y == c], at=self.at), "contribution")
        return made


def run(options: argparse.Namespace, results: Results) -> None:
    subject = Subject(options)
    for row in ROWS:
        results.part(NAME, row, subject.given, partial(subject.measured, row))


def expected() -> list[str]:
    return list(ROWS)


def rows(results: Results) -> list[dict[str, Any]]:
    """A row for each thing fitted on, and Grad-CAM's: mean score with its interval, and what it is above Grad-CAM's."""
    there = {row: part.result for row, part in results.parts(NAME, ROWS).items()}
    told = []
    for row, one in there.items():
        method, on = (GRAD_CAM, None) if row == GRAD_CAM else (f"{MIPIN}, preset localise", row)
        scores, rival = np.array(one["scores"]), there.get(GRAD_CAM)
        ahead = None if on is None or rival is None else grouped(scores - np.array(rival["scores"]), one["asked"])
        score = in_row("score", grouped(scores, one["asked"]))
        told.append({"method": method, "fitted_on": on, **score, **in_row("ahead", ahead)})
    return told


def values(results: Results) -> dict[str, Any]:
    """For sentences: mean scores by what is fitted on, and how many photographs and mosaics there are."""
    there = results.parts(NAME, ROWS)
    keys = {ABSENT: "absent", PRESENT: "present", SEEN: "seen", GRAD_CAM: "grad_cam"}
    told: dict[str, Any] = {}
    for row, part in there.items():
        told |= in_row(keys[row], grouped(part.result["scores"], part.result["asked"]))
        told |= {"asked": part.options["asked"], "mosaics": len(part.result["scores"])}
    if ABSENT in there and PRESENT in there:
        scores = [np.array(there[row].result["scores"]) for row in (PRESENT, ABSENT)]
        told |= in_row("gain", grouped(scores[0] - scores[1], there[PRESENT].result["asked"]))
    return told


def blocks(results: Results) -> list[Block]:
    told = rows(results)
    if not told:
        return []
    study = next(iter(results.parts(NAME, ROWS).values())).options
    lines = [[row["method"], row["fitted_on"] or "–", interval(row, "score"), interval(row, "ahead")] for row in told]
    caption = (
        f"{study['mosaics']} mosaics for either part of {study['asked']} photographs; fitted on {study['calibration']} "
        "crops; in brackets the 95 % interval, by bootstrap over the photographs asked for"
    )
    return [Table(["method", "fitted on", "A·X, last map", "above Grad-CAM's"], lines, caption)]
