"""Figure 8: one scene of two objects, the maps of either class."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.maps import FEWER, correlations, signed_map
from paper.page import Block, Figure, Table, heat, photo, two
from paper.published import METHODS
from paper.results import Results, or_failed, part_of
from paper.scenes import CALIBRATION_SEED, NETWORKS, PAIRS_SEED, add_scenes, fit_options, network, places, scenes
from training.clutter import CLASS_NAMES

NAME = "figure8"
TITLE = "Figure 8: two classes in one image"
PAPER = (
    "For a dog and a cat MIP-IN highlights the class that is asked for alone; Guided Backprop, DTD and "
    "PatternAttribution draw nearly the same map for both; SmoothGrad highlights both."
)
HELP = "maps of either class in scenes of two objects, and the share of them on the right object"
KIND = "contribution"
SHOWN = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_scenes(parser)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--samples", type=int, default=150, help="scenes of two objects")
    parser.add_argument("--calibration", type=int, default=900, help="scenes of one object to fit on")


def own_share(maps: Any, boxes: Any, turn: int) -> Any:
    """Share [N] in the box asked for of the positive values in either box; maps [N, H, W], boxes [N, 2, 4].

    NaN where neither box has any.
    """
    sums = np.zeros((len(maps), 2))
    for number, (one, pair) in enumerate(zip(maps, boxes, strict=True)):
        for side, (x0, y0, x1, y1) in enumerate(pair):
            sums[number, side] = np.maximum(one[y0:y1, x0:x1], 0).sum()
    total = sums.sum(axis=1)
    return np.divide(sums[:, turn], total, out=np.full(len(maps), np.nan), where=total > 0)


def depth(net: mr.Network) -> dict[str, tuple[str, str | None]]:
    """Rows of the figure: method and tensor; MIP-IN at the pixels and, as Grad-CAM, at the last map of 8 by 8."""
    last = next(tensor for tensor in places(net) if min(net.shapes[tensor][1:]) >= 8)
    rows: dict[str, tuple[str, str | None]] = {METHODS[0]: (METHODS[0], None), "mip-in, 8×8 map": (METHODS[0], last)}
    return rows | {name: (name, None) for name in METHODS[1:-1]} | {METHODS[-1]: (METHODS[-1], last)}


def run(options: argparse.Namespace, results: Results) -> None:
    pairs = scenes(options, "test", options.samples, PAIRS_SEED, pairs=True)
    size = (pairs.x.shape[2], pairs.x.shape[3])
    for name in options.networks:
        net = network(name)
        calibration = scenes(options, "train", options.calibration, CALIBRATION_SEED)
        panel = mr.Panel(
            net, calibration.x, fit_options=fit_options(results), method_options=FEWER, dtype="float32", memory="1GB"
        )
        given = {"sha256": net.sha256, "samples": options.samples, "calibration": options.calibration, "kind": KIND}
        for row, (method, at) in depth(net).items():
            if method not in options.methods:
                continue

            def make(panel: mr.Panel = panel, method: str = method, at: str | None = at) -> dict[str, Any]:
                panel.prepare(range(panel.net.classes) if method == METHODS[0] else ())
                either = [panel.explain(method, pairs.x, pairs.y[:, turn], at=at) for turn in (0, 1)]
                maps = [signed_map(res, KIND, size) for res in either]
                shares = np.concatenate([own_share(maps[turn], pairs.boxes, turn) for turn in (0, 1)])
                alike = correlations(*maps)
                return {
                    "own": float(np.nanmean(shares)) if np.isfinite(shares).any() else None,
                    "empty": int(np.isnan(shares).sum()),
                    "alike": float(np.mean(alike)) if alike else None,
                    "pictures": [[heat(maps[turn][i]) for turn in (0, 1)] for i in range(SHOWN)],
                }

            results.part(NAME, part_of(name, row), given | ({"at": at} if at else {}), or_failed(make))

    def drawn() -> dict[str, Any]:
        return {
            "pictures": [photo(one) for one in pairs.x[:SHOWN]],
            "names": [[CLASS_NAMES[c] for c in pair] for pair in pairs.y[:SHOWN]],
        }

    results.part(NAME, "scenes", {"samples": options.samples, "seed": PAIRS_SEED}, drawn)


def expected() -> list[str]:
    return [*(part_of(name, row) for name in NETWORKS for row in depth(network(name))), "scenes"]


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    shown = results.read(NAME, "scenes")
    for name in NETWORKS:
        parts = results.parts(NAME, depth(network(name)), name)
        drawn = {row: part.result for row, part in parts.items() if "pictures" in part.result}
        if shown and drawn:
            pictures, names = shown.result["pictures"], shown.result["names"]
            head = ["scene", *(f"“{one}”" for one in names[0]), "scene", *(f"“{one}”" for one in names[1])]
            pictured = []
            for row, one in drawn.items():
                cells = []
                for i in range(SHOWN):
                    cells.append((pictures[i], f"scene of {names[i][0]} and {names[i][1]}", ""))
                    cells += [
                        (picture, f"{row}, class {class_name}", "")
                        for picture, class_name in zip(one["pictures"][i], names[i], strict=True)
                    ]
                pictured.append((row, cells))
            told.append(Figure(head, pictured, f"{name}: A·X of either class; red for it, blue against it"))
        lines = [
            [row, two(one["own"]), two(one["alike"]), str(one["empty"])]
            for row, one in sorted(drawn.items(), key=lambda item: -(item[1]["own"] or 0))
        ]
        lines += [[row, "failed", part.result["failed"], ""] for row, part in parts.items() if "failed" in part.result]
        if lines:
            options = next(iter(parts.values())).options
            caption = (
                f"{name}, {options['samples']} scenes of two objects: of the positive values in the two boxes, the "
                "share in the one asked for (0.5 where the class does not matter), and the correlation of the two maps"
            )
            told.append(Table(["method", "own box", "correlation of the two maps", "maps without any"], lines, caption))
    return told
