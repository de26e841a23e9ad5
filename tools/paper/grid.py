"""The grid pointing game on EfficientNet-Lite0 with all methods: at the pixels, at the last feature map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.maps import batches, signed_map
from paper.page import Block, Table, three
from paper.photographs import (
    GRID,
    calibration,
    mosaics,
    photographs,
    recognised_by,
    recognised_classes,
)
from paper.results import Results
from paper.rows import ROWS, method_of, run_rows

NAME = "pointing"
TITLE = "Grid pointing game on EfficientNet-Lite0"
PAPER = (
    "Beyond the paper: 2×2 mosaics of photographs of ImageNet classes; the share of a map's positive values in the "
    "cell of the class, 0.25 by chance."
)
HELP = "grid pointing game of all methods on a network of colour photographs"
KINDS = ("contribution", "attribution")
FEWEST: dict[str, dict[str, Any]] = {"smoothgrad": {"samples": 8}, "integrated-gradients": {"steps": 8}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", "--model-efficientnet", dest="model", type=Path, required=True, help="ONNX file")
    parser.add_argument("--photographs", type=Path, required=True, help="a folder of files named *_<label>.jpg")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--classes", type=int, default=4, help="how many of the recognised ones, by file name")
    parser.add_argument("--mosaics", type=int, default=60)
    parser.add_argument("--calibration", type=int, default=100, help="images to fit on")
    parser.add_argument("--calibration-mosaics", type=float, default=0.0, help="the fraction of them in mosaics")
    parser.add_argument("--ridge", type=float, default=10.0, help="of MIP-IN")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", default="2GB")


def played(panel: mr.Panel, name: str, x: Any, y: Any, cells: Any, at: str | None) -> dict[str, Any]:
    """For each kind of map the mean score over mosaics, its standard error and the number of empty maps."""
    scores: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    empty = dict.fromkeys(KINDS, 0)
    for rows in batches(len(x), 20):
        res = panel.explain(name, x[rows], y[rows], at=at)
        for kind in KINDS:
            one = mr.metrics.grid_pointing_game(signed_map(res, kind), cells[rows], GRID)
            scores[kind].append(one.scores)
            empty[kind] += one.empty
    joined = {kind: np.concatenate(parts) for kind, parts in scores.items()}
    return {
        "mean": {kind: float(one.mean()) for kind, one in joined.items()},
        "error": {kind: float(one.std() / np.sqrt(len(one))) for kind, one in joined.items()},
        "empty": empty,
    }


def run(options: argparse.Namespace, results: Results) -> None:
    net = mr.load(options.model)
    images = photographs(options.photographs)
    right = recognised_by(options.model, net, images)
    classes = recognised_classes(right, options.classes)
    side = net.input_shape[-1]
    x, labels = mosaics(right, options.mosaics, options.seed, side, GRID, targets=classes)
    y = np.array([classes[i % len(classes)] for i in range(len(x))])
    cells = np.argmax(labels == y[:, None], axis=1)
    fitted_on, _ = calibration(images, options.calibration, options.seed, side, options.calibration_mosaics)
    given = {
        "sha256": net.sha256,
        "photographs": len(images),
        "recognised": len(right),
        **{
            key: getattr(options, key)
            for key in ("classes", "mosaics", "calibration", "calibration_mosaics", "ridge", "seed")
        },
    }

    def panel(at: str | None) -> mr.Panel:
        fit: Any = {"ridge": options.ridge, "at": at}
        return mr.Panel(net, fitted_on, fit_options=fit, method_options=FEWEST, dtype="float32", memory=options.memory)

    def measure(panel: mr.Panel, method: str, at: str | None) -> dict[str, Any]:
        return {**played(panel, method, x, y, cells, at), "tensor": at or ""}

    def depends(row: str) -> dict[str, Any]:
        return {**given, "method": FEWEST.get(method_of(row), {})}

    run_rows(results, NAME, options.rows, net, panel=panel, measure=measure, given=depends, classes=classes)


def expected() -> list[str]:
    return list(ROWS)


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a method that was measured, by falling mean: of each kind of map mean, standard error and empty maps."""
    told = []
    for row, part in results.parts(NAME, ROWS).items():
        one = part.result
        if "failed" not in one:
            figures = {f"{what}_{kind}": one[what][kind] for what in ("mean", "error", "empty") for kind in KINDS}
            told.append({"method": row, **figures})
    return sorted(told, key=lambda row: -max(row[f"mean_{kind}"] for kind in KINDS))


def blocks(results: Results) -> list[Block]:
    parts = results.parts(NAME, ROWS)
    if not parts:
        return []
    options = next(iter(parts.values())).options
    rows = []
    for row, part in sorted(parts.items(), key=lambda item: -max(item[1].result.get("mean", {"": -1}).values())):
        one = part.result
        if "failed" in one:
            rows.append([row, "failed", one["failed"]])
            continue
        empty = {kind: f" ({count} empty)" if count else "" for kind, count in one["empty"].items()}
        rows.append(
            [row, *(f"{three(one['mean'][kind])} ± {three(one['error'][kind])}{empty[kind]}" for kind in KINDS)]
        )
    caption = (
        f"{options['mosaics']} mosaics of {options['recognised']} photographs, {options['classes']} classes, seed "
        f"{options['seed']}; MIP-IN and patterns fitted on {options['calibration']} crops, ridge {options['ridge']:g}; "
        "Grad-CAM at the last feature map; ± standard error"
    )
    return [Table(["method", "A·X", "A"], rows, caption)]
