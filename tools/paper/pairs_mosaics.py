"""Mosaics of four objects, each asked for in turn: the grid pointing game on the networks of scenes of two objects.

A mosaic is of the size of a scene: four windows of half its side, each cut about one object of a scene, of four
classes. Windows that hold something of the scene's other object are left out. Networks have seen two objects at a
time, so a cell is asked for only where its class is among the four that a network names first.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paper import pairs_facts
from paper.intervals import ENDS, bootstrap, in_row
from paper.page import Block, Table, interval
from paper.pairs_maps import LAST, ORACLE, PIXELS, WITHOUT, Maps
from paper.pairs_rows import MANY_PASSES, NETWORKS, ROWS, parts_of
from paper.pairs_subject import Subject, chosen
from paper.results import Results, or_failed
from paper.scenes import MOSAICS_SEED, Boxed, scenes
from training.keras import add_data
from training.right import right_of
from training.texture import SIDE

NAME = "pairs-mosaics"
TITLE = "Mosaics of four objects"
PAPER = "Beyond the paper: the grid pointing game, 0.25 by chance."
HELP = "grid pointing game of all methods on the networks of scenes of two objects"
CELL = SIDE // 2
CELLS = np.array([(x, y, x + CELL, y + CELL) for y in (0, CELL) for x in (0, CELL)])
"""The four cells of a mosaic, row by row, as boxes."""
CHOSEN = [row for row in (*ROWS, *WITHOUT) if row not in (*MANY_PASSES, ORACLE)]
"""Rows measured where none is named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, *WITHOUT], default=CHOSEN)
    parser.add_argument("--ends", nargs="+", choices=(LAST, PIXELS), default=[LAST, PIXELS])
    parser.add_argument("--mosaics", type=int, default=500)
    parser.add_argument("--calibration", type=int, default=300, help="scenes of two objects to fit on")
    parser.add_argument("--all", action="store_true", help="cells too whose class the network does not name")


def windows(pairs: Boxed) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Windows [n, 3, CELL, CELL] about objects of scenes, as near to the middle of their boxes as the scene allows, and
    their classes [n]; those are left out that hold something of the other object.
    """
    kept, classes = [], []
    for x, y, boxes in zip(pairs.x, pairs.y, pairs.boxes, strict=True):
        for turn in (0, 1):
            x0, y0, x1, y1 = boxes[turn]
            left, top = (min(max((low + high - CELL) // 2, 0), SIDE - CELL) for low, high in ((x0, x1), (y0, y1)))
            other = boxes[1 - turn]
            clear = other[0] >= left + CELL or other[2] <= left or other[1] >= top + CELL or other[3] <= top
            if clear:
                kept.append(x[:, top : top + CELL, left : left + CELL])
                classes.append(y[turn])
    return np.stack(kept), np.array(classes)


def mosaics(parts: NDArray[np.float32], classes: NDArray[np.int64], count: int, seed: int) -> Boxed:
    """So many mosaics of windows, of four classes each, which are drawn at random; a class's windows are taken in their
    order, each once as long as there are any. y [count, 4], and the cells as boxes [count, 4, 4].

    Raises ValueError where there are windows of fewer than four classes.
    """
    there = np.unique(classes)
    if len(there) < len(CELLS):
        raise ValueError(f"mosaics need windows of {len(CELLS)} classes, and there are {len(there)}")
    rng = np.random.Generator(np.random.PCG64(seed))
    of_class = {int(c): np.flatnonzero(classes == c) for c in there}
    taken = dict.fromkeys(of_class, 0)
    x, y = np.empty((count, 3, SIDE, SIDE), np.float32), np.empty((count, len(CELLS)), np.int64)
    for number in range(count):
        y[number] = rng.choice(there, len(CELLS), replace=False)
        for c, (x0, y0, x1, y1) in zip(y[number].tolist(), CELLS, strict=True):
            x[number, :, y0:y1, x0:x1] = parts[of_class[c][taken[c] % len(of_class[c])]]
            taken[c] += 1
    return Boxed(x, y, np.broadcast_to(CELLS, (count, *CELLS.shape)))


def in_cells(maps: Maps) -> NDArray[np.float64]:
    """Shares [N, 4] of a map's positive values in each cell; 0 where there are none. Maps [N, H, W]."""
    n, height, width = maps.shape
    cut = np.maximum(maps, 0).reshape(n, 2, height // 2, 2, width // 2).sum(axis=(2, 4)).reshape(n, len(CELLS))
    total = cut.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(cut, total, out=np.zeros(cut.shape), where=total > 0)
    return shares


def measured(subject: Subject, row: str, end: str, told: Boxed, named: NDArray[np.bool_]) -> dict[str, Any]:
    """The share of a row's maps in the cell that is asked for, and how often no other cell has as much. Mosaics are
    what is drawn for intervals, each with the mean over those of its cells that are named [N, 4].
    """
    share, hit = np.full(named.shape, np.nan), np.full(named.shape, np.nan)
    for turn in range(len(CELLS)):
        which = np.flatnonzero(named[:, turn])
        if len(which):
            cells = in_cells(subject.maps(row, end, chosen(told, which), turn))
            share[which, turn] = cells[:, turn]
            # A map that is the same in several cells, or empty, points at none.
            hit[which, turn] = (cells[:, [turn]] > np.delete(cells, turn, axis=1)).all(axis=1)
    some = named.any(axis=1)
    return {what: bootstrap(np.nanmean(one[some], axis=1)) for what, one in (("share", share), ("hit", hit))}


def run(options: argparse.Namespace, results: Results) -> None:
    # Twice as many objects as cells, of which some are left out.
    cut = windows(scenes(options, "test", len(CELLS) * options.mosaics, MOSAICS_SEED, pairs=True))
    told = mosaics(*cut, options.mosaics, MOSAICS_SEED)
    for name in options.networks:
        subject = Subject(name, options, results)
        scores, _ = subject.net.predict(told.x)
        named = right_of(scores, told.y)
        asked = np.ones_like(named) if options.all else named
        for part, (row, end) in parts_of(name).items():
            if row in options.rows and end in options.ends:
                given = {**subject.given(row, end), "mosaics": options.mosaics, "cells": int(asked.sum())}
                results.part(NAME, part, given, or_failed(partial(measured, subject, row, end, told, asked)))


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a network and method; what is not there is None."""
    made = []
    for name in NETWORKS:
        rows_of: dict[str, dict[str, Any]] = {}
        for part, one in results.parts(NAME, parts_of(name)).items():
            method, end = parts_of(name)[part]
            if "share" in one.result:
                row = rows_of.setdefault(method, {**dict.fromkeys(FIGURES), "network": name, "method": method})
                row["mosaics"], row["cells"] = one.options["mosaics"], one.options["cells"]
                for what in ("share", "hit"):
                    row |= in_row(f"{KEYS[end]}_{what}", one.result[what])
        made += sorted(rows_of.values(), key=lambda row: -(row["last_share"] or 0))
    return made


def values(results: Results) -> dict[str, str]:
    """Who leads, and where MIP-IN stands beside it, for sentences."""
    measured = rows(results)
    by_network = {name: [row for row in measured if row["network"] == name] for name in NETWORKS}
    return pairs_facts.told(by_network, [f"{key}_{what}" for key in KEYS.values() for what in ("share", "hit")])


KEYS = {LAST: "last", PIXELS: "pixels"}
FIGURES = [f"{key}_{what}{of}" for key in KEYS.values() for what in ("share", "hit") for of in ENDS]


def expected() -> list[str]:
    return [part for name in NETWORKS for part, (row, _) in parts_of(name).items() if row in CHOSEN]


def blocks(results: Results) -> list[Block]:
    lines = [
        [
            row["network"],
            f"{row['cells']} of {len(CELLS) * row['mosaics']}",
            row["method"],
            *(interval(row, f"{key}_{what}") for key in KEYS.values() for what in ("share", "hit")),
        ]
        for row in rows(results)
    ]
    head = ["network", "cells", "method", *(f"{end}: {what}" for end in KEYS for what in ("share", "hit"))]
    caption = (
        "share: of the positive values of A·X in the cell asked for, .25 by chance; hit: no other cell has as much; "
        "95 % intervals by bootstrap over mosaics"
    )
    return [Table(head, lines, caption)] if lines else []
