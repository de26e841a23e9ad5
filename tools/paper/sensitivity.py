"""Class sensitivity of all methods on the MNIST CNN (paper, Appendix B): how far apart lie the maps of two classes."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

import mipin_ref as mr
from paper.digits import digits
from paper.intervals import FIGURES, bootstrap
from paper.maps import FEWER, batches
from paper.page import Block, Table, fact, two
from paper.published import GRAD_CAM, METHODS, SENSITIVITY
from paper.results import Results, or_failed
from paper.scenes import network
from training.keras import add_mnist

NAME = "sensitivity"
TITLE = "Figure 9 and Appendix B: class sensitivity"
PAPER = (
    "Mean L2 distance between the maps of two classes, 5,000 images of MNIST, three-layer CNN: SmoothGrad, "
    "gradient, LRP, MIP-IN and, on this network, DeconvNet are called sensitive; Guided Backprop, DTD and "
    "PatternAttribution are not."
)
HELP = "class sensitivity of all methods on mnist_cnn"
KINDS = ("attribution", "contribution", "positive part")
KEYS = {kind: kind.replace(" ", "_") for kind in KINDS}
"""Kind of map -> its name among figures."""
"""A, A·X, and the positive part of A: where a class with a negative logit has a map that is all zero, as in the paper's
Deep Taylor, instead of the other's with its sign turned."""
PAIR = (3, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--samples", type=int, default=5000, help="test images; the paper took 5,000")
    parser.add_argument("--calibration", type=int, default=5000, help="training images to fit on")
    parser.add_argument("--classes", type=int, nargs=2, default=PAIR, metavar=("A", "B"))


def distances(panel: mr.Panel, name: str, x: NDArray[np.float32], classes: tuple[int, int]) -> dict[str, Any]:
    """For each kind of map the mean distance between the maps of the two classes, signed as they are, and its ends."""
    apart: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in KINDS}
    zero = dict.fromkeys(KINDS, 0)
    for rows in batches(len(x)):
        pair = [panel.explain(name, x[rows], c) for c in classes]
        for kind in KINDS:
            positive = kind == "positive part"
            of = "attribution" if positive else kind
            one = mr.metrics.class_sensitivity(*(mr.saliency(res, kind=of, positive=positive) for res in pair))
            apart[kind].append(one.distances)
            zero[kind] += one.zero
    joined = {kind: np.concatenate(parts) for kind, parts in apart.items()}
    told: dict[str, Any] = {key: {} for key in FIGURES}
    for kind, values in joined.items():
        for key, value in zip(FIGURES, bootstrap(values), strict=True):
            told[key][kind] = value
    return {**told, "zero": zero}


def run(options: argparse.Namespace, results: Results) -> None:
    net = network("mnist_cnn")
    x, _ = digits(options.mnist, "test", options.samples)
    calibration, _ = digits(options.mnist, "train", options.calibration)
    panel = mr.Panel(net, calibration, method_options=FEWER, dtype="float32", memory="1GB")
    for name in options.methods:
        given = {
            "samples": len(x),
            "calibration": len(calibration),
            "classes": list(options.classes),
            "method": FEWER.get(name, {}),
        }

        def make(name: str = name) -> dict[str, Any]:
            panel.explain(name, x[:2], options.classes[0])
            return distances(panel, name, x, tuple(options.classes))

        results.part(NAME, name, given, or_failed(make))


def expected() -> list[str]:
    return list(METHODS)


def order(ours: dict[str, float]) -> tuple[float, int]:
    """Spearman rank correlation of our means with the paper's, and of how many methods."""
    names = [name for name in SENSITIVITY if name in ours]
    if len(names) < 3:
        return float("nan"), len(names)
    return float(spearmanr([ours[n] for n in names], [SENSITIVITY[n] for n in names]).statistic), len(names)


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a method that was measured, by falling distance of A: means of each kind of map and their ends."""
    told = []
    for name, part in results.parts(NAME, METHODS).items():
        one = part.result
        if "mean" not in one:
            continue
        # One weight a channel, the same at every location.
        kinds = [kind for kind in KINDS if name != GRAD_CAM or kind == "contribution"]
        figures = {
            f"{what}_{key}": one[what].get(kind) if kind in kinds else None
            for what in FIGURES
            for kind, key in KEYS.items()
        }
        zero = one["zero"]["attribution"]
        images, paper = part.options["samples"], SENSITIVITY.get(name)
        told.append({"method": name, **figures, "zero": zero, "images": images, "paper": paper})
    return sorted(told, key=lambda row: -(row["mean_attribution"] or 0))


def values(results: Results) -> dict[str, Any]:
    """Spearman's rank correlation with the paper's means, by kind of map; the means by method, for sentences."""
    measured = {name: part.result for name, part in results.parts(NAME, METHODS).items() if "mean" in part.result}
    told: dict[str, Any] = {}
    for kind in KINDS:
        value, count = order({name: one["mean"][kind] for name, one in measured.items() if kind in one["mean"]})
        told |= {f"order_{KEYS[kind]}": value if count > 2 else None, f"methods_{KEYS[kind]}": count}
    for row in rows(results):
        told |= {fact(row["method"], key): value for key, value in row.items() if key.startswith(FIGURES)}
        told["images"] = row["images"]
    return told


def blocks(results: Results) -> list[Block]:
    parts = results.parts(NAME, METHODS)
    measured = {name: part.result for name, part in parts.items() if "mean" in part.result}
    if not parts:
        return []
    options = next(iter(parts.values())).options
    ranked = sorted(parts, key=lambda name: -measured.get(name, {"mean": {"attribution": -1}})["mean"]["attribution"])
    rows = []
    for name in ranked:
        if name not in measured:
            rows.append([name, parts[name].result["failed"], "", "", "", "", two(SENSITIVITY.get(name))])
            continue
        one = measured[name]
        means = [
            f"{one['mean'][kind]:.2f} ({one['low'][kind]:.2f} to {one['high'][kind]:.2f})"
            if kind in one["mean"]
            else "–"
            for kind in KINDS
        ]
        if name == GRAD_CAM:
            # One weight a channel, the same at every location.
            means = ["–", means[1], "–"]
        images = f"{parts[name].options['samples']:,}"
        rows.append([name, *means, str(one["zero"]["attribution"]), images, two(SENSITIVITY.get(name))])
    told = []
    for kind in KINDS:
        value, count = order({name: one["mean"][kind] for name, one in measured.items() if kind in one["mean"]})
        if count > 2:
            told.append(f"{value:.2f} for maps of kind {kind} ({count} methods)")
    here = sorted((n for n in SENSITIVITY if n in measured), key=lambda n: -measured[n]["mean"]["attribution"])
    paper = sorted(SENSITIVITY, key=lambda n: -SENSITIVITY[n])
    return [
        Table(
            ["method", "A", "A·X", "A, positive part", "zero maps of A", "images", "paper"],
            rows,
            f"mnist_cnn, test images, classes {options['classes'][0]} and "
            f"{options['classes'][1]}, fitted on {options['calibration']:,}; intervals of 95 % by bootstrap",
        ),
        f"Rank correlation (Spearman) with the paper's order: {'; '.join(told)}. "
        f"Ours by A: {' > '.join(here)}. The paper's: {' > '.join(paper)}.",
    ]
