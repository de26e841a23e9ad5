"""Sentences of which the tokens that decide are known: how high every method ranks them, on three kinds of network.

The networks are trained here, with seeds, on sentences with planted evidence (tools/training/planted.py), where the
folder of networks does not have them yet. Nothing is chosen on the sentences that are explained.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.intervals import bootstrap, in_row
from paper.token_ranks import measured
from paper.token_ways import BY_DELETION, Inverses, ridge_by_deletion, ways
from training.files import write_json, write_whole
from training.planted import Sentences, sentences

NAME = "text"
HELP = "how high methods rank the tokens that decide, on transformers, LSTMs and GRUs: a table by itself"
NETWORKS = ("transformer", "lstm", "gru")
SEEDS = (0, 1, 2)
TEST_SEED, CALIBRATION_SEED, VALIDATION_SEED = 7, 8, 9
"""Of the sentences that are explained, fitted on, and chosen by."""
VALIDATION = 1000
"""Sentences that say whether a network learnt the task."""
LEAST = 0.95
"""Of these that a network has right; one that has fewer did not learn the task and is left out."""
SHOWN = ("hits", "area", "rank", "drop")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", type=Path, required=True, help="a folder; networks that it lacks are trained")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--samples", type=int, default=200, help="sentences that are explained, and chosen by")
    parser.add_argument("--calibration", type=int, default=1000, help="sentences that are fitted on")
    parser.add_argument("--json", type=Path, help="write the rows there too")


def network(folder: Path, name: str, seed: int) -> mr.Network:
    """The network of that name and seed, trained first where the folder has none."""
    path = folder / f"{name}-{seed}.onnx"
    if not path.exists():
        from training.planted_networks import exported, trained

        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, exported(trained(name, seed)))
    return mr.load(path)


def right(net: mr.Network, data: Sentences) -> NDArray[np.bool_]:
    """Which sentences a network takes for their class [N]."""
    same: NDArray[np.bool_] = np.equal(net.predict(data.ids)[1].argmax(axis=1), data.classes)
    return same


def measured_of(name: str, options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row a method, its figures over the sentences of all seeds that the network takes for their class, best first;
    and what else is told of the networks, by name.
    """
    kept: dict[str, list[dict[str, NDArray[np.float64]]]] = {}
    refused: dict[str, str] = {}
    shares, ridges = [], []
    validation, calibration = sentences(VALIDATION, VALIDATION_SEED), sentences(options.calibration, CALIBRATION_SEED)

    def ridge(fitted: Inverses) -> float:
        ridges.append(ridge_by_deletion(fitted, validation.ids[: options.samples]))
        return ridges[-1]

    for seed in options.seeds:
        net = network(options.networks, name, seed)
        shares.append(float(right(net, validation).mean()))
        if shares[-1] < LEAST:
            print(f"{name} {seed}: left out, it has {shares[-1]:.0%} of other sentences right", flush=True)
            continue
        data = sentences(options.samples, TEST_SEED)
        some: list[Any] = [one[right(net, data)] for one in data]
        data = Sentences(*some)
        for row, way in ways(net, calibration.ids, ridge).items():
            try:
                kept.setdefault(row, []).append(measured(net, way(data), data))
            except mr.MipinError as error:
                refused[row] = str(error)
            print(f"{name} {seed}, {row}: {refused.get(row) or kept[row][-1]['rank'].mean()}", flush=True)
    rows = [figures_of(name, row, parts) for row, parts in kept.items() if row not in refused]
    rows.sort(key=lambda one: -one["rank"])
    told = {
        "trained": len(shares),
        "learnt": sum(share >= LEAST for share in shares),
        "right": min(shares),
        "ridges": ", ".join(f"{one:g}" for one in ridges),
        **{f"{key}_rank": one["rank"] for one in rows for key, row in TOLD.items() if one["method"] == row},
    }
    return rows, {f"{name}_{key}": value for key, value in told.items()}


TOLD = {
    "mip_in": "mip-in",
    "held_out": "mip-in, ridge held-out",
    "by_deletion": BY_DELETION,
    "lrp": "lrp-epsilon",
    "integrated": "integrated-gradients",
    "shap": "kernel-shap",
}
"""What a page's sentences name -> the row whose rank it is."""


def figures_of(name: str, row: str, parts: list[dict[str, NDArray[np.float64]]]) -> dict[str, Any]:
    """The figures of one method on one kind of network, parts by seed, with their intervals."""
    told: dict[str, Any] = {"network": name, "method": row}
    for key in parts[0]:
        whole = np.concatenate([part[key] for part in parts])
        told |= in_row(key, bootstrap(whole))
    return told


def run(options: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    values: dict[str, Any] = {}
    for name in NETWORKS:
        more, told = measured_of(name, options)
        rows += more
        values |= told
    for one in rows:
        figures = (f"{key} {one[key]:.3f} ({one[f'{key}_low']:.3f}, {one[f'{key}_high']:.3f})" for key in SHOWN)
        print(f"{one['network']:12} {one['method']:36} {'  '.join(figures)}")
    if options.json is not None:
        write_json(options.json, {"rows": rows, "values": values})
