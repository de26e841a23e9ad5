"""Sanity checks that the paper's introduction rests on: which methods ignore the class, and which the upper layers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.digits import digits
from paper.intervals import FIGURES, bootstrap
from paper.maps import FEWER, correlations
from paper.page import Block, Table, fact, two
from paper.published import METHODS, MIPIN
from paper.redrawing import rank_correlations, redrawn
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
    Each is a mean over samples with the ends of its interval.
    """
    calibration, x, y = data
    other = (y + 1) % net.classes
    explain = explainer(name, calibration, np.union1d(y, other).tolist())

    def maps(net: mr.Network, of: Any) -> Any:
        parts = {c: explain(net, x[of == c], c) for c in np.unique(of).tolist()}
        first = mr.saliency(next(iter(parts.values())), positive=False)
        joined = np.empty((len(x), *first.shape[1:]))
        for c, res in parts.items():
            joined[of == c] = mr.saliency(res, positive=False)
        return joined

    # Both before any network is redrawn: the methods of one network alone are kept.
    original, wrong = maps(net, y), maps(net, other)
    weighted = [layer.output for layer in reversed(net.layers) if layer.kind in ("Dense", "Conv")][:layers]
    weights = {}
    for tensor, drawn in redrawn(net, weighted).items():
        anew = maps(drawn, y)
        pairs = {"signed": (original, anew), "absolute": (np.abs(original), np.abs(anew))}
        weights[tensor] = {key: ends(rank_correlations(*pair)) for key, pair in pairs.items()}
    return {"label": ends(correlations(original, wrong)), "weights": weights}


def ends(values: Any) -> dict[str, float]:
    """The mean over samples and the ends of its interval, by name."""
    return dict(zip(FIGURES, bootstrap(values), strict=True))


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


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a network and method, the least alike maps of two classes first. label: of these; signed_1, absolute_1:
    with the layer of the logits redrawn, _2 and so on: down to the next ones; _last: to the lowest. Each with its ends.
    """
    told = []
    for title in NETWORKS:
        for name, part in results.parts(NAME, METHODS, title).items():
            if "failed" in part.result:
                continue
            row: dict[str, Any] = {"network": title, "method": name, "samples": part.options["samples"]}
            row |= named("label", part.result["label"])
            steps = list(part.result["weights"].values())
            for number, step in [*enumerate(steps, 1), ("last", steps[-1])]:
                for key, one in step.items():
                    row |= named(f"{key}_{number}", one)
            told.append(row)
    # Maps that are flat have no correlation.
    return sorted(told, key=lambda row: (NETWORKS.index(row["network"]), 2 if row["label"] is None else row["label"]))


def named(key: str, one: dict[str, float | None]) -> dict[str, float | None]:
    """A mean by its name, its ends by that and theirs."""
    return {key if end == "mean" else f"{key}_{end}": value for end, value in one.items()}


def values(results: Results) -> dict[str, float | None]:
    """All that rows hold, by network, method and name, for sentences."""
    return {
        fact(row["network"], row["method"], key): value
        for row in rows(results)
        for key, value in row.items()
        if key not in ("network", "method")
    }


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    every = rows(results)
    for title in NETWORKS:
        parts = results.parts(NAME, METHODS, title)
        known = [row for row in every if row["network"] == title]
        if known:
            options = parts[known[0]["method"]].options
            tensors = list(parts[known[0]["method"]].result["weights"])
            head = ["method", "other class", *(f"redrawn to {tensor}" for tensor in tensors)]
            lines = [
                [
                    row["method"],
                    two(row["label"]),
                    *(
                        f"{two(row[f'signed_{number}'])} ({two(row[f'absolute_{number}'])})"
                        for number in range(1, 1 + len(tensors))
                    ),
                ]
                for row in known
            ]
            caption = (
                f"{title}, {options['samples']} test samples: correlation (Pearson) of the maps A·X of the true "
                "class and the next one; rank correlation (Spearman) with the original map, and of absolute values in "
                "brackets, as layers are redrawn from the logits down; fitted anew on "
                f"{options['calibration']} samples each time"
            )
            told.append(Table(head, lines, caption))
        failed = {name: part.result["failed"] for name, part in parts.items() if "failed" in part.result}
        told += [f"{title}, {name} fails: {reason}" for name, reason in failed.items()]
    return told
