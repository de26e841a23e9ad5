"""The grid pointing game by depth: does MIP-IN point at the right photograph of a mosaic, from the top to the pixels?

python tools/reproduce_paper.py depth --model efficientnet_lite0.onnx --photographs folder --out table.json

The folder holds files named `…_<label>.jpg`. Inverses are fitted on random crops, and mosaics of such, of every second
photograph, or with --seen of all, and explain, each its own share, mosaics of those others that the network recognises.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.depth_table import KINDS, Explained, Place, Row, as_markdown, explained, figures, table, values
from paper.halves import Folder, Half
from paper.photographs import GRID, Floats
from paper.places import chosen_tensors, deepest
from training.files import write_json

NAME = "depth"
HELP = "grid pointing game of MIP-IN alone at every map of a network of colour photographs"


def inverses(
    net: mr.Network, x: Floats, classes: Sequence[int], options: argparse.Namespace
) -> Iterator[tuple[int, mr.Inverse]]:
    """Class and inverse, fitted when they are asked for or, where not one by one, all in the same passes."""
    groups = [[c] for c in classes] if options.one_by_one else [list(classes)]
    for group in groups:
        began = time.perf_counter()
        made = mr.fit(
            net,
            x,
            group,
            ridge=options.ridge,
            conv_bias=options.conv_bias,
            at=deepest(net, options.tensors),
            fit_on=options.fit_on,
            dtype=options.dtype,
            memory=options.memory,
            progress=True,
        )
        # Of its own, so that each goes when it has been used.
        fitted = dict(made)
        del made
        note(f"class {', '.join(map(str, group))}: fitted in {time.perf_counter() - began:.0f} s")
        for c in group:
            yield c, fitted.pop(c)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def head(study: dict[str, Any]) -> str:
    """What was done, in one line."""
    classes = ", ".join(map(str, study["classes"]))
    return (
        f"{study['model']}: {study['recognised']} of {study['photographs']} photographs recognised; "
        f"{study['mosaics']} mosaics {GRID}×{GRID} of one half of them explained for "
        f"{len(study['classes'])} classes ({classes}); "
        f"fitted on {study['calibration']} images of {'all' if study['seen'] else 'the other half'}, "
        f"{study['calibration_mosaics']:.0%} of them mosaics; "
        f"ridge {study['ridge']:g}, fit_on {study['fit_on']}, conv_bias {study['conv_bias']}, dtype {study['dtype']}, "
        f"seed {study['seed']}; by chance {1 / GRID**2:g}; ± standard error over mosaics"
    )


@dataclass(frozen=True)
class Experiment:
    """What is fitted on and explained: mosaics of one half of the photographs, and images [M, 3, S, S] of the other or
    of all; study: the options and counts to be reported.
    """

    net: mr.Network
    classes: list[int]
    half: Half
    fitted_on: Floats
    study: dict[str, Any]


def experiment(options: argparse.Namespace) -> Experiment:
    """Everything up to the fit. Raises ValueError, MipinError or OSError where model, folder and options do not fit."""
    net = mr.load(options.model)
    chosen_tensors(net, options.tensors, ())
    folder = Folder(net, options)
    note("recognised: " + ", ".join(f"{one.name} ({one.label})" for one in folder.right))
    half, _ = folder.halves()
    classes = list(dict.fromkeys(half.y.tolist()))
    fitted_on = folder.crops() if options.seen else half.fitted_on
    names = ("seen", "calibration", "calibration_mosaics", "ridge", "fit_on", "conv_bias", "dtype", "seed")
    study = {
        "model": options.model.name,
        "photographs": len(folder.images),
        "recognised": len(folder.right),
        "classes": classes,
        "mosaics": len(half.x),
        **{name: getattr(options, name) for name in names},
    }
    return Experiment(net, classes, half, fitted_on, study)


def played(of: Experiment, options: argparse.Namespace) -> list[Row]:
    """Fit and explain class by class, and make the rows of the table."""
    by_class: dict[int, Explained] = {}
    for c, inv in inverses(of.net, of.fitted_on, of.classes, options):
        own = of.half.y == c
        tensors = chosen_tensors(of.net, options.tensors, [row.tensor for row in inv.report])
        began = time.perf_counter()
        by_class[c] = explained(inv, of.half.x[own], of.half.cells[own], tensors, batch=options.batch)
        lowest = float(np.mean(by_class[c].scores[Place(tensors[-1]), KINDS[0]]))
        note(
            f"class {c} ({len(by_class)} of {len(of.classes)}): {own.sum()} mosaics explained in "
            f"{time.perf_counter() - began:.0f} s, {lowest:.3f} at {tensors[-1]!r}"
        )
        if options.out is not None:
            rows = [asdict(row) for row in table(of.net, by_class)]
            write_json(options.out, {**of.study, "classes_explained": len(by_class), "rows": rows})
    return table(of.net, by_class)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def fraction(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, not {number:g}")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="ONNX, input [N, 3, S, S] scaled as (x - 127) / 128")
    parser.add_argument("--photographs", type=Path, required=True, help="a folder of files named *_<label>.jpg")
    parser.add_argument("--classes", type=positive, default=8, help="how many of a half, by file name")
    parser.add_argument("--mosaics", type=positive, default=5, help="for each class")
    parser.add_argument("--calibration", type=positive, default=48, help="images to fit on")
    parser.add_argument("--seen", action="store_true", help="fit on images of all photographs, those explained too")
    parser.add_argument("--calibration-mosaics", type=fraction, default=0.0, help="the fraction of them in mosaics")
    parser.add_argument("--ridge", type=float, default=1e-3)
    parser.add_argument("--fit-on", choices=("all", "target_class"), default="all", help="the class as predicted")
    parser.add_argument("--conv-bias", action="store_true")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float32")
    parser.add_argument("--memory", default="4GB", help="of a fit")
    parser.add_argument("--batch", type=positive, default=4, help="mosaics explained at a time")
    parser.add_argument(
        "--one-by-one",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="fit a class after the other, in less memory than all in the same passes",
    )
    parser.add_argument(
        "--tensors",
        type=lambda text: text.split(","),
        default=["all"],
        help="all (fitted maps), or some of last, middle, input and names, with commas",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON, rewritten after every class")
    parser.add_argument("--json", type=Path, help="where the rows of the table go too, as numbers")


def run(options: argparse.Namespace) -> None:
    """Print the table, after what was done. Raises ValueError, MipinError or OSError where options do not fit."""
    of = experiment(options)
    rows = played(of, options)
    print(head(of.study))
    print(as_markdown(rows))
    if options.json is not None:
        write_json(options.json, {"rows": [figures(row) for row in rows], "values": values(rows)})
