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

from paper import pairs_facts
from paper.figure8 import own_share
from paper.intervals import in_row
from paper.page import Block, Figure, Table, heat, photo, three, within
from paper.pairs_maps import COARSE, LAST, PIXELS, PLACES, WITHOUT, at_places, pointing
from paper.pairs_rows import MANY_PASSES, NETWORKS, OTHERS, ROWS, parts_of
from paper.pairs_subject import Subject, by_logit, chosen, recognised
from paper.results import Results, or_failed, part_of
from paper.scenes import PAIRS_SEED, Boxed, scenes
from training.clutter import CLASS_NAMES
from training.keras import add_data

NAME = "pairs"
TITLE = "Two objects, each asked for in turn"
PAPER = (
    "The paper has VGG19 and ResNet50, and shows two classes in one image in Figure 8; gates, norms and attention it "
    "has not."
)
HELP = "box accuracy and mass of the maps of either of two objects, all methods, four networks"
SHOWN = 3
KEYS = {LAST: "last", COARSE: "coarse", PIXELS: "pixels"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=[*NETWORKS, *OTHERS], default=list(NETWORKS))
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, *WITHOUT], default=[*ROWS, *WITHOUT])
    parser.add_argument("--ends", nargs="+", choices=(LAST, PIXELS), default=[LAST, PIXELS])
    parser.add_argument("--samples", type=int, default=2000, help="scenes of two objects that are explained")
    parser.add_argument("--few", type=int, default=500, help="scenes, the first, for methods of many passes a sample")
    parser.add_argument("--calibration", type=int, default=300, help="other scenes of two objects to fit on")
    parser.add_argument("--all", action="store_true", help="scenes too whose objects the network does not name first")


def composed(options: argparse.Namespace, subject: Subject, samples: int) -> Boxed:
    """The scenes that a network explains of so many, of each the object of the higher logit first."""
    ordered = by_logit(subject.net, scenes(options, "test", options.samples, PAIRS_SEED, pairs=True))
    some = chosen(ordered, slice(samples))
    return some if options.all else recognised(subject.net, some)


def measured(subject: Subject, row: str, end: str, pairs: Boxed) -> dict[str, Any]:
    """Where a row's maps of either object point, by place, and the first of them."""
    size = (pairs.x.shape[2], pairs.x.shape[3])
    either = [at_places(subject.maps(row, end, pairs, turn), end, size) for turn in (0, 1)]
    told = {place: pointing([one[place] for one in either], pairs.boxes) for place in either[0]}
    finest = [one[end] for one in either]
    own = [own_share(one, pairs.boxes, turn) for turn, one in enumerate(finest)]
    drawn = [[heat(one[i]) for one in finest] for i in range(SHOWN)]
    return {"places": told, "own": float(np.nanmean(own)), "pictures": drawn}


def run(options: argparse.Namespace, results: Results) -> None:
    for name in options.networks:
        subject = Subject(name, options, results)
        every = composed(options, subject, options.samples)
        first = composed(options, subject, min(options.few, options.samples))
        for part, (row, end) in parts_of(name).items():
            if row in options.rows and end in options.ends:
                samples, pairs = (options.few, first) if row in MANY_PASSES else (options.samples, every)
                given = {**subject.given(row, end), "samples": samples, "recognised": len(pairs.x)}
                results.part(NAME, part, given, or_failed(partial(measured, subject, row, end, pairs)))

        def drawn(pairs: Boxed = every) -> dict[str, Any]:
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
    made = []
    for row in (*ROWS, *WITHOUT):
        told: dict[str, Any] = {"network": name, "method": row}
        places: dict[str, Any] = {}
        for part, (of, _) in parts_of(name).items():
            if of == row and part in parts:
                places |= parts[part].result.get("places", {})
                told["scenes"] = parts[part].options["recognised"]
        if not places:
            continue
        for place in PLACES:
            key, one = KEYS[place], places.get(place)
            for what in ("box", "mass"):
                told |= in_row(f"{key}_{what}", one and one[what])
                each = one["boxes" if what == "box" else "masses"] if one else [[None] * 3] * 2
                told |= {f"{key}_{what}_{turn + 1}": value[0] for turn, value in enumerate(each)}
        made.append(told)
    return sorted(made, key=lambda one: -(one["last_mass"] or 0))


def values(results: Results) -> dict[str, str]:
    """Who leads, and where MIP-IN stands beside it, for sentences."""
    keys = [f"{place}_{what}" for place in KEYS.values() for what in ("box", "mass")]
    return pairs_facts.told({name: rows_of(results, name) for name in NETWORKS}, keys)


def expected() -> list[str]:
    wanted = [part for name in NETWORKS for part in parts_of(name)]
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
    for key in KEYS.values():
        for what in ("box", "mass"):
            one = f"{key}_{what}"
            of_each = f"{three(row[f'{one}_1'])} / {three(row[f'{one}_2'])}"
            cells.append("–" if row[one] is None else f"{of_each} ({within(row, one)})")
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
