"""What makes MIP-IN's maps of either of two objects better: options alone and together, on scenes of their own.

Made of training images: the scenes that `pairs` explains are not looked at. `against others` explains, in place of a
logit, what of it the logits of all other classes do not tell (its residual in their ridge regression): the last dense
layer of a copy of the file is changed so that these come out.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

import mipin_ref as mr
from paper.intervals import ENDS, in_row
from paper.page import Block, Table, fact, three
from paper.pairs_maps import LAST, PIXELS, PLACES, at_places, last_of, map_of, pointing
from paper.pairs_rows import CAMS, NETWORKS, OTHERS
from paper.pairs_subject import by_logit, recognised
from paper.published import MIPIN
from paper.results import Results, or_failed, part_of
from paper.scenes import CALIBRATION_SEED, VALIDATION_SEED, fit_options, network, scenes
from training.files import MODELS
from training.keras import add_data

NAME = "pairs-study"
TITLE = "Two objects: what MIP-IN's maps of either depend on"
PAPER = "The paper reports no such study."
HELP = "box accuracy and mass of MIP-IN by option, on scenes of two objects that no table is made of"


@dataclass(frozen=True)
class Variant:
    """One way to fit. factor: of the number of calibration scenes; pairs: whether they show two objects each; others:
    the ridge of a logit's regression on all others, None where the logit itself is explained.
    """

    fit: dict[str, Any] = field(default_factory=dict)
    factor: float = 1
    pairs: bool = True
    others: float | None = None


VARIANTS = {
    "default": Variant(),
    "ridge 1": Variant({"ridge": 1.0}),
    "ridge 10": Variant({"ridge": 10.0}),
    "ridge 100": Variant({"ridge": 100.0}),
    "ridge 1000": Variant({"ridge": 1000.0}),
    "ridge 10000": Variant({"ridge": 10_000.0}),
    "fit_on target_class": Variant({"fit_on": "target_class"}),
    "fit_on target_class, ridge 10": Variant({"fit_on": "target_class", "ridge": 10.0}),
    "conv_bias": Variant({"conv_bias": True}),
    "local False": Variant({"local": False}),
    "norm sigma": Variant({"norm": "sigma"}),
    "norm sigma, ridge 10": Variant({"norm": "sigma", "ridge": 10.0}),
    "ridge held-out": Variant({"ridge": "held-out"}),
    "share_locations": Variant({"share_locations": True}),
    "share_locations, ridge 10": Variant({"share_locations": True, "ridge": 10.0}),
    "share_locations, ridge 1000": Variant({"share_locations": True, "ridge": 1000.0}),
    "share_locations, ridge held-out": Variant({"share_locations": True, "ridge": "held-out"}),
    "a third of the scenes": Variant(factor=1 / 3),
    "three times the scenes": Variant(factor=3),
    "ten times the scenes": Variant(factor=10),
    "ten times the scenes, ridge 1000": Variant({"ridge": 1000.0}, factor=10),
    "scenes of one object": Variant(pairs=False),
    "against others": Variant(others=100.0),
    "against others, ridge 100": Variant({"ridge": 100.0}, others=100.0),
    "against others, ridge 1000": Variant({"ridge": 1000.0}, others=100.0),
}
BESIDE = ("grad-cam", "lrp-epsilon")
"""Methods that the variants are set beside."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=[*NETWORKS, *OTHERS], default=list(NETWORKS))
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS, *BESIDE], default=[*BESIDE, *VARIANTS])
    parser.add_argument("--ends", nargs="+", choices=(LAST, PIXELS), default=[LAST])
    parser.add_argument("--calibration", type=int, default=300, help="scenes that the inverses are fitted on")
    parser.add_argument("--validation", type=int, default=300, help="scenes of two objects that are explained")
    parser.add_argument("--all", action="store_true", help="scenes too whose objects the network does not name first")


def residual_matrix(logits: NDArray[np.floating[Any]], ridge: float) -> NDArray[np.float64]:
    """[C, C]: what turns logits [N, C] into, for each class, the residual of its logit's ridge regression on the
    others; 1 on the diagonal. Constants are left out, as inverses have intercepts.
    """
    centred = np.asarray(logits - logits.mean(axis=0), np.float64)
    gram, count = centred.T @ centred, centred.shape[1]
    made = np.eye(count)
    for c in range(count):
        others = np.delete(np.arange(count), c)
        made[c, others] = -np.linalg.solve(gram[np.ix_(others, others)] + ridge * np.eye(count - 1), gram[others, c])
    return made


def against_others(path: Path, matrix: NDArray[np.float64]) -> mr.Network:
    """A network whose logits are those of a file times a matrix [C, C]: its last Gemm takes it in."""
    model = onnx.load(path)
    last = [node for node in model.graph.node if node.op_type == "Gemm"][-1]
    arrays = {one.name: one for one in model.graph.initializer}
    for name in last.input[1:]:
        # Gemm's weights are stored [C, features], its bias [C].
        changed = matrix @ numpy_helper.to_array(arrays[name])
        arrays[name].CopyFrom(numpy_helper.from_array(changed.astype(np.float32), name))
    return mr.load(model.SerializeToString())


def measured(name: str, title: str, end: str, options: argparse.Namespace, results: Results) -> dict[str, Any]:
    """Where the maps of a variant, or of another method, point."""
    net = network(name)
    ordered = by_logit(net, scenes(options, "train", options.validation, VALIDATION_SEED, pairs=True))
    pairs = ordered if options.all else recognised(net, ordered)
    at, size = last_of(name, net) if end == LAST else None, (pairs.x.shape[2], pairs.x.shape[3])
    variant = VARIANTS.get(title, Variant())
    count = round(options.calibration * variant.factor)
    calibration = scenes(options, "train", count, CALIBRATION_SEED, pairs=variant.pairs)
    if variant.others is not None:
        _, logits = net.predict(calibration.x)
        net = against_others(MODELS / name / "model.onnx", residual_matrix(logits, variant.others))
    how: Any = {**fit_options(results), **variant.fit, "at": at}
    if variant.fit.get("fit_on") == "target_class":
        how["labels"] = calibration.y.reshape(len(calibration.y), -1)[:, 0]
    panel = mr.Panel(net, calibration.x, fit_options=how, dtype="float32", memory="1GB")
    method = MIPIN if title in VARIANTS else title
    if method == MIPIN:
        panel.prepare(range(net.classes))
    maps = [at_places(map_of(panel.explain(method, pairs.x, pairs.y[:, turn], at=at)), end, size) for turn in (0, 1)]
    return {"places": {place: pointing([one[place] for one in maps], pairs.boxes) for place in maps[0]}}


def parts_of(name: str) -> dict[str, tuple[str, str]]:
    """The parts of a network by name: variant and end; class activation maps have the last map alone."""
    return {
        part_of(name, f"{title}, {end}"): (title, end)
        for end in (LAST, PIXELS)
        for title in (*BESIDE, *VARIANTS)
        if not (title in CAMS and end == PIXELS)
    }


def run(options: argparse.Namespace, results: Results) -> None:
    for name in options.networks:
        sha256 = network(name).sha256
        for part, (title, end) in parts_of(name).items():
            if title not in options.variants or end not in options.ends:
                continue
            variant = VARIANTS.get(title, Variant())
            given = {
                "sha256": sha256,
                "calibration": round(options.calibration * variant.factor),
                "pairs": variant.pairs,
                "others": variant.others,
                "validation": options.validation,
                "fit": variant.fit,
            }

            def make(name: str = name, title: str = title, end: str = end) -> dict[str, Any]:
                return measured(name, title, end, options, results)

            results.part(NAME, part, given, or_failed(make))


def rows(results: Results) -> list[dict[str, Any]]:
    """See `rows_of`: of all networks."""
    return rows_of(results, [*NETWORKS, *OTHERS])


def rows_of(results: Results, networks: list[str]) -> list[dict[str, Any]]:
    """A row a variant and place, with box and mass of every network; what is not there is None."""
    measured: dict[tuple[str, str], dict[str, Any]] = {}
    for name in networks:
        for part, one in results.parts(NAME, parts_of(name)).items():
            for place, told in one.result.get("places", {}).items():
                row = measured.setdefault((parts_of(name)[part][0], place), {})
                for what in ("box", "mass"):
                    row |= in_row(f"{name}_{what}", told[what])
    keys = [f"{name}_{what}{end}" for name in networks for what in ("box", "mass") for end in ENDS]
    titles = [(title, place) for place in PLACES for title in (*BESIDE, *VARIANTS)]
    return [
        {"variant": title, "place": place, **dict.fromkeys(keys), **measured[title, place]}
        for title, place in titles
        if (title, place) in measured
    ]


def values(results: Results) -> dict[str, str]:
    """Phrases on the last map, for sentences: of every variant the networks where its interval lies above, or below,
    that of the default and that of Grad-CAM; of every measure the variant that is highest on each network.
    """
    return phrases([row for row in rows_of(results, list(NETWORKS)) if row["place"] == LAST])


def phrases(rows: list[dict[str, Any]]) -> dict[str, str]:
    """See `values`: of rows that have an entry each."""
    of_title, told = {row["variant"]: row for row in rows}, {}
    for what in ("box", "mass"):
        keys = {name: f"{name}_{what}" for name in NETWORKS}
        best = {}
        for name, key in keys.items():
            had = [row for row in rows if row["variant"] not in BESIDE and row.get(key) is not None]
            if had:
                best[name] = max(had, key=lambda row, key=key: row[key])  # type: ignore[misc]
        highest = (f"`{name}` {row['variant']} ({row[keys[name]]:.3f})" for name, row in best.items())
        told[fact("highest", what)] = "; ".join(highest)
        for title, one in of_title.items():
            for other in ("default", "grad-cam"):
                beside = of_title.get(other, {})
                there = [(name, key) for name, key in keys.items() if None not in (one.get(key), beside.get(key))]
                above = [f"`{name}`" for name, key in there if one[f"{key}_low"] > beside[f"{key}_high"]]
                below = [f"`{name}`" for name, key in there if one[f"{key}_high"] < beside[f"{key}_low"]]
                told[fact(title, what, "above", other)] = ", ".join(above) or "none"
                told[fact(title, what, "below", other)] = ", ".join(below) or "none"
    return told


def expected() -> list[str]:
    return [part for name in NETWORKS for part, (_, end) in parts_of(name).items() if end == LAST]


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    measured = rows(results)
    names = [name for name in (*NETWORKS, *OTHERS) if any(row[f"{name}_box"] is not None for row in measured)]
    if not names:
        return []
    for place in PLACES:
        lines = [
            [row["variant"], *(three(row[f"{name}_{what}"]) for name in names for what in ("box", "mass"))]
            for row in measured
            if row["place"] == place
        ]
        if lines:
            head = ["variant", *(f"{name}: {what}" for name in names for what in ("box", "mass"))]
            told.append(Table(head, lines, f"{place}: box accuracy, and mass in the box asked for, of both objects"))
    return told
