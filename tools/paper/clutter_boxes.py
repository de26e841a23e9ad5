"""Table 2 on boxed clutter: box accuracy of all methods on a VGG and a ResNet.

What can be chosen, the kind of map of every method, the tensor of the rows that say so, and the options of MIP-IN (by
the study), is chosen on validation scenes of training images; the test scenes are explained once, with what was chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from paper.clutter_subject import BY_STUDY, CHOSEN, TUNED, Subject
from paper.intervals import bootstrap, in_row
from paper.maps import FEWER, Floats
from paper.page import Block, Table, fact, signed, three
from paper.published import BOX_ACCURACY, GRAD_CAM, MARGINS, METHODS, MIPIN, TITLES
from paper.results import Results, part_of
from paper.rows import LAST, method_of
from paper.scenes import NETWORKS, TEST_SEED, add_scenes
from paper.study import best_rows

NAME = "clutter"
TITLE = "Table 2, on a stand-in: box accuracy on boxed clutter"
PAPER = (
    "Box accuracy on ILSVRC validation images whose box covers less than 33 %, VGG19 / ResNet50. MIP-IN is the best, "
    "by 0.13 and 0.121 over the best baseline; there it explains the last feature map, 7×7, resized to the image."
)
HELP = "box accuracy of all methods on the clutter networks (the stand-in for Table 2)"
INNER = (MIPIN, GRAD_CAM, "input-x-gradient", "guided-backprop", "excitation-backprop")
"""Methods that are also read at the tensor where they are best."""
ROWS = [
    *METHODS,
    MIPIN + LAST,
    *(name + CHOSEN for name in INNER),
    TUNED,
    BY_STUDY,
]
"""A method's name alone means the pixels, but for Grad-CAM, whose own place is the last feature map."""
SIGNED = ("contribution", "attribution")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_scenes(parser)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--calibration", type=int, default=900, help="scenes to fit on")
    parser.add_argument("--validation", type=int, default=300, help="scenes to choose the kind of map on")
    parser.add_argument("--samples", type=int, default=2000, help="test scenes")
    parser.add_argument("--seed", type=int, default=TEST_SEED, help="of the test scenes")


def run(options: argparse.Namespace, results: Results) -> None:
    for name in options.networks:
        subject = Subject(name, options, results)
        for row in options.rows:
            given = {
                "sha256": subject.net.sha256,
                **{key: getattr(options, key) for key in ("calibration", "validation", "samples", "seed")},
                "method": FEWER.get(row, {}),
            }
            if row == BY_STUDY:
                given["chosen"] = next(best_rows(results, name), None)
            results.part(NAME, part_of(name, row), given, partial(subject.row, row))


def expected() -> list[str]:
    return [part_of(name, row) for name in NETWORKS for row in ROWS]


def validated(one: Mapping[str, Any]) -> dict[str, float | None]:
    """The scores of a row on the validation scenes, by kind of map, where the row was read."""
    scores: dict[str, float | None] = one.get("all", {}).get(one.get("at"), one.get("validation", {}))
    return scores


def tested(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return {row: one["test"] for row, one in rows.items() if one.get("test") is not None}


def ranked_with_sign(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """On the validation scenes, by the better of the two kinds of map that keep their sign."""
    by_row = {row: [s for kind in SIGNED if (s := validated(one).get(kind)) is not None] for row, one in rows.items()}
    return {row: max(scores) for row, scores in by_row.items() if scores}


def margins(scores: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """For each row of MIP-IN the margins over the best of the others, then of those that the paper compared with."""
    others = {row: score for row, score in scores.items() if not row.startswith(MIPIN)}
    told = []
    for row in (row for row in scores if row.startswith(MIPIN)):
        for names in (list(others), [name for name in others if name in BOX_ACCURACY]):
            if names:
                rival = max(names, key=lambda name: others[name])
                told.append((row, rival, scores[row] - others[rival]))
    return told


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a network and method that was measured, by falling accuracy. low, high: the ends of its interval of 95 % by
    bootstrap over scenes; with_sign: on the validation scenes.
    """
    told = []
    for number, name in enumerate(NETWORKS):
        parts = {row: part.result for row, part in results.parts(NAME, ROWS, name).items()}
        signed_scores = ranked_with_sign(parts)
        for row, one in sorted(tested_rows(parts).items(), key=lambda item: -item[1]["test"]):
            paper = None if row == MIPIN else BOX_ACCURACY.get(method_of(row), (None, None))[number]
            about = {"kind": one["kind"], "at": one["at"], "variant": one.get("variant"), "where": place(row, one)}
            _, low, high = bootstrap(scores_of(one))
            scores = {"box": one["test"], "low": low, "high": high, "with_sign": signed_scores.get(row), "paper": paper}
            told.append({"network": name, "method": TITLES.get(row, row), **scores, **about})
    return told


def scores_of(one: Mapping[str, Any]) -> Floats:
    """The score of every test scene [N], NaN where its box is too large."""
    return np.array([np.nan if score is None else score for score in one["scores"]])


def place(row: str, one: Mapping[str, Any]) -> str:
    """Where the maps of a row were read, and how the inverses were fitted where that was chosen."""
    own = "last map" if row == GRAD_CAM else "pixels"
    return (one["at"] or own) + (f" ({one['variant']})" if "variant" in one else "")


def values(results: Results) -> dict[str, Any]:
    """For sentences, by network: box accuracy of every row with its ends; of MIP-IN's rows also the margin over the
    best other row and its ends, scenes drawn for both at once; that other row; chance; how many scenes.
    """
    told: dict[str, Any] = {}
    for row in rows(results):
        told |= {fact(row["network"], row["method"], key): row[key] for key in ("box", "low", "high", "where")}
    for name in NETWORKS:
        parts = results.parts(NAME, ROWS, name)
        measured = tested_rows({row: part.result for row, part in parts.items()})
        others = [row for row in measured if not row.startswith(MIPIN)]
        if not others:
            continue
        rival = max(others, key=lambda row: measured[row]["test"])
        ends = bootstrap(scores_of(measured[rival]))
        told |= {fact(name, "rival", key): value for key, value in zip(("box", "low", "high"), ends, strict=True)}
        told |= {fact(name, "rival"): rival, fact(name, "chance"): measured[rival]["chance"]}
        told |= {fact(name, key): parts[rival].options[key] for key in ("calibration", "validation", "samples")}
        for mine in (row for row in measured if row.startswith(MIPIN)):
            ahead = in_row("margin", bootstrap(scores_of(measured[mine]) - scores_of(measured[rival])))
            told |= {fact(name, TITLES.get(mine, mine), key): value for key, value in ahead.items()}
    return told


def tested_rows(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What was explained on the test scenes, without what failed."""
    return {row: one for row, one in parts.items() if one.get("test") is not None}


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    for number, name in enumerate(NETWORKS):
        parts = results.parts(NAME, ROWS, name)
        if not parts:
            continue
        rows = {row: part.result for row, part in parts.items()}
        part = next(iter(parts.values()))
        cells = []
        for row, one in sorted(rows.items(), key=lambda item: -(item[1].get("test") or 0)):
            paper = BOX_ACCURACY.get(method_of(row), (None, None))[number]
            if row == MIPIN:
                paper = None
            if "failed" in one:
                cells.append([TITLES.get(row, row), "failed", "", one["failed"], "", "", three(paper)])
                continue
            scores = validated(one)
            signed_scores = [three(scores.get(kind)) for kind in SIGNED]
            cells.append(
                [TITLES.get(row, row), three(one["test"]), one["kind"], place(row, one), *signed_scores, three(paper)]
            )
        chance = f"{part.options['samples']:,} test scenes (seed {part.options['seed']}), "
        told.append(
            Table(
                ["method", "box accuracy", "kind of map", "at", "A·X", "A", "paper"],
                cells,
                f"{name}: {chance}fitted on {part.options['calibration']:,}; kind of map chosen on "
                f"{part.options['validation']:,} validation scenes; "
                "A·X and A: of maps ranked with their sign, on the validation scenes",
            )
        )
        by_row: dict[str, list[str]] = {}
        for read in (tested(rows), ranked_with_sign(rows)):
            for row in (row for row in rows if row.startswith(MIPIN)):
                against = [f"{signed(margin)} ({rival})" for mine, rival, margin in margins(read) if mine == row]
                by_row.setdefault(row, []).extend(against or ["–", "–"])
        if by_row:
            head = ["margin of", "best of all", "best of the paper's", "best of all, with sign", "paper's, with sign"]
            caption = f"{name}: margins over the best other row; the paper's is {MARGINS[number]:.3f}"
            told.append(Table(head, [[TITLES.get(row, row), *cells] for row, cells in by_row.items()], caption))
    return told
