"""Two objects in one scene, each asked for in turn: where maps of newer networks point, MIP-IN's beside others.

What scenes of one object cannot show, these do: whether a map is of the class that is asked for. Nothing is chosen on
the scenes that are explained.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.figure8 import own_share
from paper.maps import signed_map
from paper.page import Block, Figure, Table, heat, photo, three
from paper.places import last_map
from paper.published import GRAD_CAM, MIPIN
from paper.results import Results, or_failed, part_of
from paper.scenes import CALIBRATION_SEED, PAIRS_SEED, Boxed, fit_options, network, scenes
from training.clutter import CLASS_NAMES
from training.keras import add_data

NAME = "pairs"
TITLE = "Two objects, networks with gates and with norms"
PAPER = "The paper has VGG19 and ResNet50, and shows two classes in one image in Figure 8; gates and norms it has not."
HELP = "box accuracy and mass of maps of either of two objects, on networks with gates and with norms"
NETWORKS = ("clutter_se", "clutter_convnext")
LAST, PIXELS = "last map", "pixels"
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    MIPIN: (MIPIN, {}),
    "mip-in, ridge 1000": (MIPIN, {"ridge": 1000.0}),
    "gradient": ("gradient", {}),
    "lrp-epsilon": ("lrp-epsilon", {}),
    GRAD_CAM: (GRAD_CAM, {}),
}
"""Row -> method and options of its fit."""
KIND = "contribution"
SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--ends", nargs="+", choices=(LAST, PIXELS), default=[LAST, PIXELS])
    parser.add_argument("--samples", type=int, default=250, help="scenes of two objects")
    parser.add_argument("--calibration", type=int, default=300, help="scenes of one object to fit on")


def parts_of(name: str) -> dict[str, tuple[str, str]]:
    """The parts of a network by name: row and end; Grad-CAM has the last map alone."""
    return {
        part_of(name, f"{row}, {end}"): (row, end)
        for end in (LAST, PIXELS)
        for row in ROWS
        if not (row == GRAD_CAM and end == PIXELS)
    }


def mass(maps: NDArray[Any], boxes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share [N] in the box of the positive values of a map; maps [N, H, W], boxes [N, 4]. NaN where there are none."""
    inside = [np.maximum(one[y0:y1, x0:x1], 0).sum() for one, (x0, y0, x1, y1) in zip(maps, boxes, strict=True)]
    total = np.maximum(maps, 0).sum(axis=(1, 2))
    share: NDArray[np.float64] = np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)
    return share


def pointing(maps: list[Any], pairs: Boxed) -> dict[str, Any]:
    """Box accuracy, mass in the box asked for, its share of both boxes; maps: of either turn, [N, H, W]."""
    boxes = [pairs.boxes[:, turn] for turn in (0, 1)]
    shares = [own_share(one, pairs.boxes, turn) for turn, one in enumerate(maps)]
    masses = [mass(one, box) for one, box in zip(maps, boxes, strict=True)]
    accuracy = [mr.metrics.box_accuracy(one, box).mean for one, box in zip(maps, boxes, strict=True)]
    return {
        "box": float(np.mean(accuracy)),
        "mass": float(np.nanmean(masses)),
        "own": float(np.nanmean(shares)),
        "empty": int(np.isnan(masses).sum()),
    }


class Subject:
    """One network, what it is fitted on, and the scenes that it explains."""

    def __init__(self, name: str, options: argparse.Namespace, results: Results) -> None:
        self.net, self._results = network(name), results
        self.pairs = scenes(options, "test", options.samples, PAIRS_SEED, pairs=True)
        self._calibration = scenes(options, "train", options.calibration, CALIBRATION_SEED)
        self._at = {LAST: last_map(self.net), PIXELS: None}
        self._panels: dict[tuple[str, str], mr.Panel] = {}

    def given(self, row: str, end: str) -> dict[str, Any]:
        """What the result of a row depends on."""
        counts = {"samples": len(self.pairs.x), "calibration": len(self._calibration.x)}
        return {"sha256": self.net.sha256, **counts, "fit": ROWS[row][1], "at": self._at[end] or ""}

    def measured(self, row: str, end: str) -> dict[str, Any]:
        """Where a row's maps of either object point, and the first of them."""
        method, fit = ROWS[row]
        key = (row if fit else "", end)
        if key not in self._panels:
            how: Any = {**fit_options(self._results), **fit, "at": self._at[end]}
            self._panels[key] = mr.Panel(self.net, self._calibration.x, fit_options=how, dtype="float32", memory="1GB")
        panel, pairs = self._panels[key], self.pairs
        if method == MIPIN:
            panel.prepare(range(self.net.classes))
        size = (pairs.x.shape[2], pairs.x.shape[3])
        either = [panel.explain(method, pairs.x, pairs.y[:, turn], at=self._at[end]) for turn in (0, 1)]
        maps = [signed_map(res, KIND, size) for res in either]
        drawn = [[heat(maps[turn][i]) for turn in (0, 1)] for i in range(SHOWN)]
        return {**pointing(maps, pairs), "pictures": drawn}


def run(options: argparse.Namespace, results: Results) -> None:
    for name in options.networks:
        subject = Subject(name, options, results)
        for part, (row, end) in parts_of(name).items():
            if row in options.rows and end in options.ends:
                results.part(NAME, part, subject.given(row, end), or_failed(partial(subject.measured, row, end)))
    pairs = scenes(options, "test", options.samples, PAIRS_SEED, pairs=True)

    def drawn() -> dict[str, Any]:
        return {
            "pictures": [photo(one) for one in pairs.x[:SHOWN]],
            "names": [[CLASS_NAMES[c] for c in pair] for pair in pairs.y[:SHOWN]],
        }

    results.part(NAME, "scenes", {"samples": options.samples, "seed": PAIRS_SEED}, drawn)


def expected() -> list[str]:
    return [*(part for name in NETWORKS for part in parts_of(name)), "scenes"]


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    shown = results.read(NAME, "scenes")
    for name in NETWORKS:
        parts = results.parts(NAME, parts_of(name))
        if not parts:
            continue
        measured = {part: one.result for part, one in parts.items() if "failed" not in one.result}
        if shown and measured:
            told.append(pictured(name, shown.result, measured))
        lines = [
            [", ".join(parts_of(name)[part]), *(three(one[key]) for key in ("box", "mass", "own")), str(one["empty"])]
            for part, one in sorted(measured.items(), key=lambda item: -(item[1]["box"]))
        ]
        lines += [
            [", ".join(parts_of(name)[part]), "failed", one.result["failed"], "", ""]
            for part, one in parts.items()
            if "failed" in one.result
        ]
        options = next(iter(parts.values())).options
        caption = (
            f"{name}: maps of A·X of either object in {options['samples']} scenes of two, fitted on "
            f"{options['calibration']} scenes of one; box: box accuracy; mass: share in the box asked for of the "
            "positive values; own: of those in either box (0.5 where the class does not matter)"
        )
        told.append(Table(["method", "box", "mass", "own", "maps without any"], lines, caption))
    return told


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
