"""Two objects in one scene, each asked for in turn: where the maps of all methods point, with intervals.

What scenes of one object cannot show, these do: whether a map is of the class that is asked for. Object 1 is the one
of the higher logit; explained are scenes whose two objects are the two that a network names first. Nothing is chosen on
them: options of MIP-IN are chosen by `pairs-study`.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.figure8 import own_share
from paper.maps import FEWER, batches
from paper.page import Block, Figure, Table, heat, photo, three
from paper.pairs_maps import (
    CLASSLESS,
    LAST,
    PIXELS,
    PLACES,
    WITHOUT,
    at_places,
    last_of,
    map_of,
    pointing,
    without,
)
from paper.published import GRAD_CAM, METHODS, MIPIN
from paper.results import Results, or_failed, part_of
from paper.scenes import CALIBRATION_SEED, PAIRS_SEED, Boxed, fit_options, network, scenes
from training.clutter import CLASS_NAMES
from training.keras import add_data
from training.right import right_of

NAME = "pairs"
TITLE = "Two objects, each asked for in turn"
PAPER = (
    "The paper has VGG19 and ResNet50, and shows two classes in one image in Figure 8; gates, norms and attention it "
    "has not."
)
HELP = "box accuracy and mass of the maps of either of two objects, all methods, four networks"
NETWORKS = ("pairs_vgg", "pairs_resnet", "pairs_se", "pairs_vit")
OTHERS = ("clutter_se", "clutter_resnet", "clutter_vgg")
"""Networks trained on scenes of one object, which know fewer of the objects of such scenes."""
CAMS = (GRAD_CAM, "grad-cam++", "hires-cam", "layer-cam", "eigen-cam", "score-cam")
TUNED = "mip-in, preset localise"
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    MIPIN: (MIPIN, {}),
    TUNED: (MIPIN, {"preset": "localise"}),
    **{name: (name, {}) for name in METHODS if name not in (MIPIN, GRAD_CAM)},
    **{name: (name, {}) for name in CAMS},
}
"""Row -> method and options of its fit."""
MANY_PASSES = ("smoothgrad", "integrated-gradients", "score-cam")
"""Methods that take ten times as long as the others, or more, and are measured where they are asked for."""
DEFAULT = [row for row in (*ROWS, *WITHOUT) if row not in MANY_PASSES]
SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=[*NETWORKS, *OTHERS], default=list(NETWORKS))
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, *WITHOUT], default=DEFAULT)
    parser.add_argument("--ends", nargs="+", choices=(LAST, PIXELS), default=[LAST, PIXELS])
    parser.add_argument("--samples", type=int, default=2000, help="scenes of two objects that are explained")
    parser.add_argument("--calibration", type=int, default=300, help="other scenes of two objects to fit on")
    parser.add_argument("--all", action="store_true", help="scenes too whose objects the network does not name first")


def parts_of(name: str) -> dict[str, tuple[str, str]]:
    """The parts of a network by name: row and end; class activation maps and the sum have the last map alone."""
    return {
        part_of(name, f"{row}, {end}"): (row, end)
        for end in (LAST, PIXELS)
        for row in (*ROWS, *WITHOUT)
        if not (end == PIXELS and row in (*CAMS, CLASSLESS))
    }


def by_logit(net: mr.Network, pairs: Boxed) -> Boxed:
    """The same scenes, of each the object of the higher logit first."""
    scores, _ = net.predict(pairs.x)
    order = np.argsort(-np.take_along_axis(scores, pairs.y, axis=1), axis=1, kind="stable")
    y, boxes = np.take_along_axis(pairs.y, order, axis=1), np.take_along_axis(pairs.boxes, order[:, :, None], axis=1)
    return Boxed(pairs.x, y, boxes)


def recognised(net: mr.Network, pairs: Boxed) -> Boxed:
    """Those scenes whose two objects are the two that the network names first."""
    scores, _ = net.predict(pairs.x)
    kept = right_of(scores, pairs.y).all(axis=1)
    return Boxed(pairs.x[kept], pairs.y[kept], pairs.boxes[kept])


class Subject:
    """One network, what it is fitted on, and the scenes that it explains."""

    def __init__(self, name: str, options: argparse.Namespace, results: Results) -> None:
        self.net, self._results = network(name), results
        self.composed = options.samples
        composed = scenes(options, "test", options.samples, PAIRS_SEED, pairs=True)
        ordered = by_logit(self.net, composed)
        self.pairs = ordered if options.all else recognised(self.net, ordered)
        self._calibration = scenes(options, "train", options.calibration, CALIBRATION_SEED, pairs=True)
        self.at = {LAST: last_of(name, self.net), PIXELS: None}
        self._panels: dict[tuple[str, str], mr.Panel] = {}

    @property
    def size(self) -> tuple[int, int]:
        return (self.pairs.x.shape[2], self.pairs.x.shape[3])

    def given(self, row: str, end: str) -> dict[str, Any]:
        """What the result of a row depends on."""
        method, fit = ROWS.get(row, (row, {}))
        counts = {"samples": self.composed, "recognised": len(self.pairs.x), "calibration": len(self._calibration.x)}
        how = {"fit": fit, "method": FEWER.get(method, {}), "at": self.at[end] or ""}
        return {"sha256": self.net.sha256, **counts, **how}

    def maps(self, row: str, end: str, turn: int) -> NDArray[Any]:
        """A row's maps of an object of every scene, at its own places."""
        pairs, at = self.pairs, self.at[end]
        y, boxes = pairs.y[:, turn], pairs.boxes[:, turn]
        made: list[Any] = []
        for rows in batches(len(y)):
            if row in WITHOUT:
                seen = mr.attribute(self.net, pairs.x[rows], y[rows], "gradient", at=self.at[LAST], dtype="float32")
                made.append(without(row, end, seen.value, seen.channel_axis, boxes[rows], self.size))
            else:
                made.append(map_of(self._panel(row, end).explain(ROWS[row][0], pairs.x[rows], y[rows], at=at)))
        return np.concatenate(made)

    def _panel(self, row: str, end: str) -> mr.Panel:
        method, fit = ROWS[row]
        key = (row if fit else "", end)
        if key not in self._panels:
            how: Any = {**fit_options(self._results), **fit, "at": self.at[end]}
            self._panels[key] = mr.Panel(
                self.net, self._calibration.x, fit_options=how, method_options=FEWER, dtype="float32", memory="1GB"
            )
        if method == MIPIN:
            self._panels[key].prepare(range(self.net.classes))
        return self._panels[key]

    def measured(self, row: str, end: str) -> dict[str, Any]:
        """Where a row's maps of either object point, by place, and the first of them."""
        either = [at_places(self.maps(row, end, turn), end, self.size) for turn in (0, 1)]
        told = {place: pointing([one[place] for one in either], self.pairs.boxes) for place in either[0]}
        finest = [one[end] for one in either]
        own = [own_share(one, self.pairs.boxes, turn) for turn, one in enumerate(finest)]
        drawn = [[heat(one[i]) for one in finest] for i in range(SHOWN)]
        return {"places": told, "own": float(np.nanmean(own)), "pictures": drawn}


def run(options: argparse.Namespace, results: Results) -> None:
    for name in options.networks:
        subject = Subject(name, options, results)
        for part, (row, end) in parts_of(name).items():
            if row in options.rows and end in options.ends:
                results.part(NAME, part, subject.given(row, end), or_failed(partial(subject.measured, row, end)))

        def drawn(pairs: Boxed = subject.pairs) -> dict[str, Any]:
            names = [[CLASS_NAMES[c] for c in pair] for pair in pairs.y[:SHOWN]]
            return {"pictures": [photo(one) for one in pairs.x[:SHOWN]], "names": names}

        given = {"sha256": subject.net.sha256, "samples": options.samples, "seed": PAIRS_SEED}
        results.part(NAME, part_of(name, "scenes"), given, drawn)


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a network and method that was measured."""
    return [row for name in (*NETWORKS, *OTHERS) for row in rows_of(results, name)]


def rows_of(results: Results, name: str) -> list[dict[str, Any]]:
    """A network's rows, a method each, with its figures of all places; what is not there is None."""
    parts = results.parts(NAME, parts_of(name))
    if not parts:
        return []
    given = next(iter(parts.values())).options
    made = []
    for row in (*ROWS, *WITHOUT):
        told: dict[str, Any] = {"network": name, "method": row, "scenes": given["recognised"]}
        places: dict[str, Any] = {}
        for part, (of, _) in parts_of(name).items():
            if of == row and part in parts:
                places |= parts[part].result.get("places", {})
        if not places:
            continue
        for place in PLACES:
            key = {"last map": "last", "pixels, 8×8": "coarse", "pixels": "pixels"}[place]
            one = places.get(place)
            for what in ("box", "mass"):
                of_both = one[what] if one else [None] * 3
                told |= {f"{key}_{what}{end}": value for end, value in zip(("", "_low", "_high"), of_both, strict=True)}
                each = one["boxes" if what == "box" else "masses"] if one else [[None] * 3] * 2
                told |= {f"{key}_{what}_{turn + 1}": value[0] for turn, value in enumerate(each)}
        made.append(told)
    return sorted(made, key=lambda one: -(one["last_mass"] or 0))


def expected() -> list[str]:
    wanted = [part for name in NETWORKS for part, (row, _) in parts_of(name).items() if row in DEFAULT]
    return [*wanted, *(part_of(name, "scenes") for name in NETWORKS)]


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    for name in (*NETWORKS, *OTHERS):
        parts = results.parts(NAME, parts_of(name))
        if not parts:
            continue
        measured = {part: one.result for part, one in parts.items() if "places" in one.result}
        shown = results.read(NAME, part_of(name, "scenes"))
        if shown and measured:
            told.append(pictured(name, shown.result, measured))
        lines = [line(one) for one in rows_of(results, name)]
        failed = {
            parts_of(name)[part][0]: one.result["failed"] for part, one in parts.items() if "failed" in one.result
        }
        lines += [[row, "failed", why, *[""] * 4] for row, why in failed.items()]
        options = next(iter(parts.values())).options
        caption = (
            f"{name}: maps of A·X of either object in {options['recognised']} scenes of two, those of "
            f"{options['samples']} whose objects the network names first, fitted on "
            f"{options['calibration']} others; box: box accuracy; mass: share in the box asked for of the positive "
            "values; of object 1 (the higher logit) / object 2, and the 95 % interval of both"
        )
        told.append(
            Table(["method", *(f"{place}: {what}" for place in PLACES for what in ("box", "mass"))], lines, caption)
        )
    return told


def line(row: dict[str, Any]) -> list[str]:
    """A row of a table, as text."""
    cells = [row["method"]]
    for key in ("last", "coarse", "pixels"):
        for what in ("box", "mass"):
            one = f"{key}_{what}"
            of_each = f"{three(row[f'{one}_1'])} / {three(row[f'{one}_2'])}"
            within = f" ({three(row[f'{one}_low'])}–{three(row[f'{one}_high'])})"
            cells.append("–" if row[one] is None else of_each + within)
    return cells


def pictured(name: str, scenes: dict[str, Any], measured: dict[str, dict[str, Any]]) -> Figure:
    """The first scenes, and the maps of either object below each other, a row a method and end."""
    head = []
    for pair in scenes["names"]:
        head += ["scene", *(f"“{one}”" for one in pair)]
    rows = []
    for part, one in measured.items():
        row = ", ".join(parts_of(name)[part])
        cells = []
        for picture, pair, maps in zip(scenes["pictures"], scenes["names"], one["pictures"], strict=True):
            cells.append((picture, f"scene of {pair[0]} and {pair[1]}", ""))
            cells += [(drawn, f"{row}, class {of}", "") for drawn, of in zip(maps, pair, strict=True)]
        rows.append((row, cells))
    return Figure(head, rows, f"{name}: A·X of either class; red for it, blue against it")
