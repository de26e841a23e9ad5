"""What the preset costs in faithfulness: APC of MIP-IN with it and without, on networks of scenes of two objects."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paper.changes import changes, weighted
from paper.intervals import bootstrap, in_row
from paper.page import Block, Table, interval, percent
from paper.pairs_maps import PIXELS
from paper.pairs_rows import NETWORKS, TUNED
from paper.pairs_subject import Subject, by_logit, recognised
from paper.published import MIPIN
from paper.results import Results, part_of
from paper.scenes import PAIRS_SEED, Boxed, scenes
from training.keras import add_data

NAME = "pairs-apc"
TITLE = "Two objects: APC with the preset and without"
PAPER = "APC and positive APC of the paper's Table 1, on networks that it has not."
HELP = "APC and positive APC of MIP-IN as it is and with its preset, on the networks of scenes of two objects"
FITS = (MIPIN, TUNED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--samples", type=int, default=2000, help="scenes of two objects")
    parser.add_argument("--calibration", type=int, default=300, help="other scenes of two objects to fit on")
    parser.add_argument("--all", action="store_true", help="scenes too whose objects the network does not name first")


def summary(change: NDArray[np.floating[Any]], y: NDArray[np.int64]) -> dict[str, Any]:
    """APC (paper, Eq. 10) and positive APC (Eq. 11) of changes (Φ(X) - Φ(S)) / |Φ(X)| [N, 2] for the classes [N, 2] of
    either object, with intervals, for which scenes are drawn; the median of absolute changes. Scenes with a logit too
    small for a change are left out.
    """
    kept = ~np.isnan(change).any(axis=1)
    change, y = change[kept], y[kept]
    means: dict[str, float | None] = {}
    for key, values in (("apc", np.abs(change)), ("positive", np.maximum(change, 0))):
        of_scenes = weighted(values.ravel(), y.ravel()).reshape(y.shape).mean(axis=1)
        means |= in_row(key, bootstrap(of_scenes))
    return {**means, "median": float(np.median(np.abs(change)))}


def measured(subject: Subject, row: str, pairs: Boxed) -> dict[str, Any]:
    inverses = subject.inverses(row, PIXELS)
    either = [changes(subject.net, inverses, pairs.x, pairs.y[:, turn])["change"] for turn in (0, 1)]
    return summary(np.stack(either, axis=1), pairs.y)


def run(options: argparse.Namespace, results: Results) -> None:
    for name in options.networks:
        subject = Subject(name, options, results)
        every = by_logit(subject.net, scenes(options, "test", options.samples, PAIRS_SEED, pairs=True))
        pairs = every if options.all else recognised(subject.net, every)
        for row in FITS:
            given = {**subject.given(row, PIXELS), "samples": options.samples, "recognised": len(pairs.x)}
            results.part(NAME, part_of(name, row), given, partial(measured, subject, row, pairs))


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a network and fit."""
    return [
        {"network": name, "fit": row, "scenes": part.options["recognised"], **part.result}
        for name in NETWORKS
        for row, part in results.parts(NAME, FITS, name).items()
    ]


def values(results: Results) -> dict[str, str]:
    """The networks where the preset's interval lies above, or below, that of the default, for sentences."""
    return phrases(rows(results))


def phrases(rows: list[dict[str, Any]]) -> dict[str, str]:
    """See `values`."""
    fits: dict[str, dict[str, Any]] = {}
    for row in rows:
        fits.setdefault(row["network"], {})[row["fit"]] = row
    both = {name: (of[MIPIN], of[TUNED]) for name, of in fits.items() if len(of) == len(FITS)}
    told: dict[str, str] = {}
    for key in ("apc", "positive"):
        above = [f"`{name}`" for name, (one, tuned) in both.items() if tuned[f"{key}_low"] > one[f"{key}_high"]]
        below = [f"`{name}`" for name, (one, tuned) in both.items() if tuned[f"{key}_high"] < one[f"{key}_low"]]
        told |= {f"{key}_above": ", ".join(above) or "none", f"{key}_below": ", ".join(below) or "none"}
    return told


def expected() -> list[str]:
    return [part_of(name, row) for name in NETWORKS for row in FITS]


def blocks(results: Results) -> list[Block]:
    lines = [
        [
            row["network"],
            row["fit"],
            str(row["scenes"]),
            *(interval(row, key, percent, " to ") for key in ("apc", "positive")),
            percent(row["median"]),
        ]
        for row in rows(results)
    ]
    head = ["network", "fit", "scenes", "APC", "positive APC", "median"]
    caption = "changes of the logit of either object, at the pixels; median: of absolute changes"
    return [Table(head, lines, caption)] if lines else []
