"""Why MIP-IN's box accuracy is what it is: calibration, ridge, fit_on, masks, intercept, depth and kind of map.

All on validation scenes, made of training images; the test scenes of Table 2's stand-in are not looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.maps import KINDS, accuracies, signed_map
from paper.page import Block, Table, fact, three
from paper.places import deepest
from paper.results import Results, part_of
from paper.scenes import (
    CALIBRATION_SEED,
    NETWORKS,
    VALIDATION_SEED,
    Boxed,
    add_scenes,
    fit_options,
    network,
    places,
    scenes,
)

NAME = "study"
TITLE = "Study of Table 2's stand-in: what MIP-IN's box accuracy depends on"
PAPER = (
    "The paper explains the last feature map (512×7×7 of VGG19) and averages A over channels; calibration on 50,000 "
    "validation images, ridge 0.001 in dense layers. It reports no study of these."
)
SHORT = {"contribution": "C", "|contribution|": "|C|", "attribution": "A", "magnitude": "M"}
HELP = "box accuracy of MIP-IN on validation scenes by calibration, options, depth and kind of map"


@dataclass(frozen=True)
class Variant:
    """One way to fit. factor: of the number of calibration scenes; pairs: whether they show two objects each; deep:
    whether down to the pixels, or to the maps of 16 by 16, which costs a fraction.
    """

    fit: dict[str, Any] = field(default_factory=dict)
    factor: int = 1
    pairs: bool = False
    deep: bool = False


VARIANTS = {
    "default": Variant(deep=True),
    "three times the scenes": Variant(factor=3, deep=True),
    "nine times the scenes": Variant(factor=9, deep=True),
    "scenes of two objects": Variant(pairs=True),
    "ridge 1": Variant({"ridge": 1.0}),
    "ridge 100": Variant({"ridge": 100.0}),
    "ridge 10000": Variant({"ridge": 10_000.0}),
    "fit_on target_class": Variant({"fit_on": "target_class"}),
    "fit_on target_class, nine times the scenes": Variant({"fit_on": "target_class"}, factor=9),
    "local False": Variant({"local": False}),
    "input_mask": Variant({"input_mask": True}, deep=True),
    "conv_bias": Variant({"conv_bias": True}, deep=True),
    "conv_bias, nine times the scenes": Variant({"conv_bias": True}, factor=9),
    "conv_bias, ridge 100, nine times the scenes": Variant({"conv_bias": True, "ridge": 100.0}, factor=9),
}
SMALL = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_scenes(parser)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--calibration", type=int, default=100, help="scenes that the inverses are fitted on")
    parser.add_argument("--validation", type=int, default=300, help="scenes that are explained")


def calibration_of(options: argparse.Namespace, variant: Variant, count: int) -> Boxed:
    return scenes(options, "train", count, CALIBRATION_SEED, pairs=variant.pairs)


def reach(net: mr.Network, variant: Variant) -> tuple[list[str], str | None]:
    """The tensors that are explained, and the one where the fit stops; None for the pixels."""
    every = places(net)
    if variant.deep:
        return [*every, net.input], None
    small = [tensor for tensor in every if max(net.shapes[tensor][1:]) <= SMALL]
    while len(small) > 1 and deepest(net, small) is None:
        small.pop()
    return small, deepest(net, small)


def fitted(
    net: mr.Network,
    calibration: Boxed,
    variant: Variant,
    classes: list[int],
    results: Results,
    at: str | None,
) -> Mapping[int, mr.Inverse]:
    """Inverses of all classes down to a tensor."""
    given = {**fit_options(results), **variant.fit, "at": at}
    if variant.fit.get("fit_on") == "target_class":
        given["labels"] = calibration.y
    return mr.fit(net, calibration.x, classes, dtype="float32", memory="1GB", **given)


def by_depth(inverses: Mapping[int, mr.Inverse], of: Boxed, tensors: list[str]) -> dict[str, dict[str, float | None]]:
    """Box accuracy of every tensor and kind of map, None where all maps are flat."""
    size = (of.x.shape[2], of.x.shape[3])
    maps = {(tensor, kind): np.empty((len(of.x), *size), np.float32) for tensor in tensors for kind in KINDS}
    for c, inv in inverses.items():
        rows = np.flatnonzero(of.y == c)
        if not len(rows):
            continue
        by_tensor = inv.attribute(of.x[rows], at=tensors)
        for tensor, kind in maps:
            maps[tensor, kind][rows] = signed_map(by_tensor[tensor], kind, size)
    return {tensor: accuracies({kind: maps[tensor, kind] for kind in KINDS}, of.boxes) for tensor in tensors}


def run(options: argparse.Namespace, results: Results) -> None:
    validation = scenes(options, "train", options.validation, VALIDATION_SEED)
    for name in options.networks:
        net = network(name)
        for title in options.variants:
            variant = VARIANTS[title]
            count = options.calibration * variant.factor
            given = {
                "sha256": net.sha256,
                "calibration": count,
                "pairs": variant.pairs,
                "validation": options.validation,
                "fit": variant.fit,
            }

            def make(net: mr.Network = net, variant: Variant = variant, count: int = count) -> dict[str, Any]:
                classes = sorted(set(validation.y.tolist()))
                tensors, at = reach(net, variant)
                inverses = fitted(net, calibration_of(options, variant, count), variant, classes, results, at)
                reports = [{row.tensor: row.r2 for row in inv.report} for inv in inverses.values()]
                r2 = {tensor: float(np.mean([one[tensor] for one in reports])) for tensor in reports[0]}
                return {"accuracy": by_depth(inverses, validation, tensors), "r2": r2}

            results.part(NAME, part_of(name, title), given, make)


def best_rows(results: Results, name: str) -> Iterator[tuple[float, str, str, str]]:
    """Accuracy, variant, tensor and kind of all that the study has on a network, best first."""
    rows = []
    for title, part in results.parts(NAME, VARIANTS, name).items():
        for tensor, kinds in part.result["accuracy"].items():
            rows += [(value, title, tensor, kind) for kind, value in kinds.items() if value is not None]
    yield from sorted(rows, key=lambda row: -row[0])


def expected() -> list[str]:
    return [part_of(name, title) for name in NETWORKS for title in VARIANTS]


def values(results: Results) -> dict[str, Any]:
    """What the study chose, by network: the variant, the tensor, the kind of map, and its score there."""
    told: dict[str, Any] = {}
    for name in NETWORKS:
        best = next(best_rows(results, name), None)
        if best is not None:
            keys = ("chosen_score", "chosen_variant", "chosen_tensor", "chosen_kind")
            told |= {fact(name, key): value for key, value in zip(keys, best, strict=True)}
    return told


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    for name in NETWORKS:
        parts = results.parts(NAME, VARIANTS, name)
        if not parts:
            continue
        options = next(iter(parts.values())).options
        tensors = list(next(iter(parts.values())).result["accuracy"])
        rows = [["scenes fitted on", *(f"{part.options['calibration']:,}" for part in parts.values())]]
        for tensor in tensors:
            best = [best_kind(part.result["accuracy"].get(tensor, {})) for part in parts.values()]
            rows.append([tensor, *(f"{three(value)} {SHORT[kind]}" if kind else "" for value, kind in best)])
        caption = (
            f"{name}: box accuracy of MIP-IN on {options['validation']} validation scenes, of the best kind of map "
            f"({', '.join(f'{short}: {kind}' for kind, short in SHORT.items())}), at every activation and pool"
        )
        told.append(Table(["tensor", *parts], rows, caption))
        part = parts.get("default")
        if part:
            r2 = part.result["r2"]
            lines = [
                [tensor, "–" if tensor not in r2 else f"{r2[tensor]:.2f}", *(three(kinds.get(kind)) for kind in KINDS)]
                for tensor, kinds in part.result["accuracy"].items()
            ]
            told.append(Table(["tensor", "R²", *KINDS], lines, f"{name}, default options: every kind of map by depth"))
    return told


def best_kind(kinds: dict[str, float | None]) -> tuple[float | None, str]:
    known = {kind: value for kind, value in kinds.items() if value is not None}
    if not known:
        return None, ""
    kind = max(known, key=lambda key: known[key])
    return known[kind], kind
