"""Sanity checks that the paper's introduction rests on: which methods ignore the class, and which the upper layers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.digits import digits
from paper.maps import FEWER, correlations
from paper.page import Block, Table, two
from paper.published import METHODS, MIPIN
from paper.results import Results, or_failed, part_of
from paper.scenes import CALIBRATION_SEED, TEST_SEED, network, scenes
from training.keras import add_data

NAME = "sanity"
TITLE = "Sanity checks: the class label and the weights of the upper layers"
PAPER = (
    "DeconvNet and Guided Backprop keep almost the same map whatever the class; DTD, LRP-αβ, Excitation Backprop and "
    "PatternAttribution hardly depend on the weights of the classifying layers; MIP-IN depends on both."
)
HELP = "correlation of the maps of two classes, and of maps as layers are redrawn from the top"
NETWORKS = ("mnist_cnn", "clutter_vgg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--calibration", type=int, default=300, help="samples to fit on, for each network anew")
    parser.add_argument("--layers", type=int, default=3, help="how many layers are redrawn, from the logits down")


def data_of(name: str, options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Calibration samples, samples to explain and their labels."""
    if name == "mnist_cnn":
        x, y = digits(options.mnist, "test", options.samples)
        return digits(options.mnist, "train", options.calibration)[0], x, y
    test = scenes(options, "test", options.samples, TEST_SEED)
    return scenes(options, "train", options.calibration, CALIBRATION_SEED).x, test.x, test.y


def explainer(name: str, calibration: Any, classes: Iterable[int]) -> Callable[[mr.Network, Any, int], mr.Attribution]:
    """A method as `metrics.randomization` asks for it: fitted anew on every network, MIP-IN for all classes at once."""
    wanted = list(classes)
    panels: dict[str, mr.Panel] = {}

    def explain(net: mr.Network, x: Any, target: int) -> mr.Attribution:
        if net.sha256 not in panels:
            panels.clear()
            panels[net.sha256] = mr.Panel(net, calibration, method_options=FEWER, dtype="float32", memory="1GB")
            if name == MIPIN:
                panels[net.sha256].prepare(wanted)
        return panels[net.sha256].explain(name, x, target)

    return explain


def checked(net: mr.Network, name: str, data: tuple[Any, Any, Any], layers: int) -> dict[str, Any]:
    """label: the correlation of the maps of the true class and of the next one; weights: by tensor, Spearman's rank
    correlation with the original map, signed and of absolute values, when all layers from the top to there are redrawn.
    """
    calibration, x, y = data
    other = (y + 1) % net.classes
    explain = explainer(name, calibration, np.union1d(y, other).tolist())

    def maps(of: Any) -> Any:
        parts = {c: explain(net, x[of == c], c) for c in np.unique(of).tolist()}
        first = mr.saliency(next(iter(parts.values())), positive=False)
        joined = np.empty((len(x), *first.shape[1:]))
        for c, res in parts.items():
            joined[of == c] = mr.saliency(res, positive=False)
        return joined

    alike = correlations(maps(y), maps(other))
    weighted = [layer.output for layer in reversed(net.layers) if layer.kind in ("Dense", "Conv")][:layers]
    randomized = mr.metrics.randomization(net, explain, x, y, tensors=weighted, ssim=False)
    return {
        "label": float(np.mean(alike)) if alike else None,
        "weights": {step.tensor: {"signed": step.signed, "absolute": step.absolute} for step in randomized.steps},
    }


def run(options: argparse.Namespace, results: Results) -> None:
    for title in options.networks:
        net = network(title)
        data = data_of(title, options)
        for name in options.methods:
            given = {
                "sha256": net.sha256,
                **{key: getattr(options, key) for key in ("samples", "calibration", "layers")},
            }

            def make(net: mr.Network = net, name: str = name, data: tuple[Any, Any, Any] = data) -> dict[str, Any]:
                return checked(net, name, data, options.layers)

            results.part(NAME, part_of(title, name), given, or_failed(make))


def expected() -> list[str]:
    return [part_of(title, name) for title in NETWORKS for name in METHODS]


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    for title in NETWORKS:
        parts = results.parts(NAME, METHODS, title)
        known = {name: part.result for name, part in parts.items() if "label" in part.result}
        if known:
            options = next(iter(parts.values())).options
            tensors = list(next(iter(known.values()))["weights"])
            head = ["method", "other class", *(f"redrawn to {tensor}" for tensor in tensors)]
            rows = []
            for name in sorted(known, key=lambda name: 2 if known[name]["label"] is None else known[name]["label"]):
                one = known[name]
                steps = [f"{two(step['signed'])} ({two(step['absolute'])})" for step in one["weights"].values()]
                rows.append([name, two(one["label"]), *steps])
            caption = (
                f"{title}, {options['samples']} test samples: correlation (Pearson) of the maps A·X of the true "
                "class and the next one; rank correlation (Spearman) with the original map, and of absolute values in "
                "brackets, as layers are redrawn from the logits down; fitted anew on "
                f"{options['calibration']} samples each time"
            )
            told.append(Table(head, rows, caption))
        failed = {name: part.result["failed"] for name, part in parts.items() if "failed" in part.result}
        told += [f"{title}, {name} fails: {reason}" for name, reason in failed.items()]
    return told
