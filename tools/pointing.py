"""The grid pointing game by depth: does MIP-IN point at the right photograph of a mosaic, from the top to the pixels?

python tools/pointing.py --model efficientnet_lite0.onnx --photographs folder --out table.json

The folder holds files named `…_<label>.jpg`. Inverses are fitted on random crops and mosaics of all photographs and
explain, each its own share, mosaics of those that the network recognises: other mosaics, of the same photographs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from photographs import Floats, Photograph, calibration, mosaics, photographs, recognised

import mipin_ref as mr

GRID = 2
KINDS = ("contribution", "attribution")


@dataclass(frozen=True)
class Place:
    """Where maps are scored: at a tensor's own size, or resized to the network's input as pictures are."""

    tensor: str
    resized: bool = False


Scores = dict[tuple[Place, str], NDArray[np.float64]]
"""Place and kind of map -> the scores of one class's mosaics."""


@dataclass(frozen=True)
class Explained:
    """One class: its mosaics' scores, R² of each fitted tensor, and how often a map had no positive value."""

    scores: Scores
    r2: dict[str, float]
    empty: dict[tuple[Place, str], int]


@dataclass(frozen=True)
class Row:
    """One line of the table. r2: mean over classes, None where the tensor is not fitted; for each kind of map the mean
    over mosaics, its standard error, the number of maps without a positive value, and the mean of each class.
    """

    tensor: str
    shape: tuple[int, ...]
    resized: bool
    r2: float | None
    means: dict[str, float]
    errors: dict[str, float]
    empty: dict[str, int]
    by_class: dict[str, dict[int, float]]


def spatial(net: mr.Network, tensor: str) -> bool:
    """Whether a tensor is a map of more than one location."""
    shape, axis = net.shapes[tensor], net.channel_axis(tensor)
    places = [length for number, length in enumerate(shape, 1) if number != axis]
    return len(places) == 2 and places != [1, 1]


def top_down(net: mr.Network) -> list[str]:
    """The maps of a network, from the last one to its input."""
    return [tensor for tensor in reversed(net.shapes) if spatial(net, tensor)]


def chosen_tensors(net: mr.Network, asked: Sequence[str], fitted: Sequence[str]) -> list[str]:
    """The maps to explain, from the top to the pixels.

    asked: "all" (the last map and every fitted one), "last", "middle" (of all), "input" or names of tensors.
    Raises InvalidData where a name is unknown, ValueError where it is no map.
    """
    maps = top_down(net)
    every = [tensor for tensor in maps if tensor in {*fitted, maps[0], net.input}]
    words = {"all": every, "last": maps[:1], "middle": [every[len(every) // 2]], "input": [net.input]}
    wanted = {tensor for word in asked for tensor in words.get(word) or [net.tensor(word)]}
    if flat := sorted(wanted.difference(maps)):
        raise ValueError(f"tensor {flat[0]!r} of shape {list(net.shapes[flat[0]])} has no two spatial axes to point at")
    return [tensor for tensor in maps if tensor in wanted]


def deepest(net: mr.Network, asked: Sequence[str]) -> str | None:
    """The tensor at which a fit may stop: all others asked for lie above it; None for the input."""
    if {"all", "middle", "input"}.intersection(asked):
        return None
    lowest, *others = reversed(chosen_tensors(net, asked, ()))
    above = {lowest}
    for layer in net.layers:
        if above.intersection(layer.inputs):
            above.add(layer.output)
    return lowest if above.issuperset(others) else None


def explained(
    inv: mr.Inverse, x: Floats, cells: NDArray[np.int64], tensors: Sequence[str], *, batch: int = 4
) -> Explained:
    """Scores of the mosaics x [N, 3, H, W] whose target lies in cells [N], at every tensor and, resized to [H, W], at
    the first.
    """
    size = (x.shape[2], x.shape[3])
    places = [Place(tensors[0], resized=True), *(Place(tensor) for tensor in tensors)]
    parts: dict[tuple[Place, str], list[mr.metrics.GridPointingGame]] = {(p, k): [] for p in places for k in KINDS}
    for start in range(0, len(x), batch):
        rows = slice(start, start + batch)
        found = inv.attribute(x[rows], at=list(tensors))
        for place, kind in parts:
            maps = mr.saliency(found[place.tensor], kind=kind, positive=True, size=size if place.resized else None)
            parts[place, kind].append(mr.metrics.grid_pointing_game(maps, cells[rows], GRID))
    return Explained(
        {key: np.concatenate([game.scores for game in games]) for key, games in parts.items()},
        {row.tensor: row.r2 for row in inv.report},
        {key: sum(game.empty for game in games) for key, games in parts.items()},
    )


def table(net: mr.Network, found: dict[int, Explained]) -> list[Row]:
    """The rows of the classes explained so far, from the top to the pixels."""
    rows = []
    for place in dict.fromkeys(place for one in found.values() for place, _ in one.scores):
        scores = {kind: {c: one.scores[place, kind] for c, one in found.items()} for kind in KINDS}
        joined = {kind: np.concatenate(list(of.values())) for kind, of in scores.items()}
        r2 = [one.r2[place.tensor] for one in found.values() if place.tensor in one.r2]
        rows.append(
            Row(
                place.tensor,
                net.input_shape if place.resized else net.shapes[place.tensor],
                place.resized,
                float(np.mean(r2)) if r2 else None,
                {kind: float(np.mean(values)) for kind, values in joined.items()},
                {kind: float(np.std(values) / np.sqrt(len(values))) for kind, values in joined.items()},
                {kind: sum(one.empty[place, kind] for one in found.values()) for kind in KINDS},
                {kind: {c: float(np.mean(values)) for c, values in of.items()} for kind, of in scores.items()},
            )
        )
    return rows


def as_markdown(rows: Sequence[Row]) -> str:
    lines = ["| tensor | shape | R² | GPG contribution | GPG attribution |", "|---|---|---|---|---|"]
    for row in rows:
        name = row.tensor + (", resized to the input" if row.resized else "")
        shape = "×".join(map(str, row.shape[-2:] if row.resized else row.shape))
        r2 = "" if row.r2 is None or row.resized else f"{row.r2:.3f}"
        cells = [
            f"{row.means[kind]:.3f} ± {row.errors[kind]:.3f}" + (f" ({row.empty[kind]} empty)" * (row.empty[kind] > 0))
            for kind in KINDS
        ]
        lines.append(f"| {name} | {shape} | {r2} | {' | '.join(cells)} |")
    return "\n".join(lines)


def recognised_by(model: Path, net: mr.Network, images: Sequence[Photograph]) -> list[Photograph]:
    """The images that the network, run by onnxruntime as it is, gets right."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def logits(x: Floats) -> NDArray[np.floating[Any]]:
        found: NDArray[np.floating[Any]] = session.run([net.output], {name: x})[0]
        return found

    return recognised(images, logits, net.input_shape[-1])


def inverses(
    net: mr.Network, x: Floats, classes: Sequence[int], options: argparse.Namespace
) -> Iterator[tuple[int, mr.Inverse]]:
    """Class and inverse, fitted when they are asked for or, where not one by one, all in the same passes."""
    groups = [[c] for c in classes] if options.one_by_one else [list(classes)]
    for group in groups:
        began = time.perf_counter()
        found = mr.fit(
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
        note(f"class {', '.join(map(str, group))}: fitted in {time.perf_counter() - began:.0f} s")
        for c in group:
            yield c, found.pop(c)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def written(path: Path, content: dict[str, Any]) -> None:
    """JSON, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, path)


def head(study: dict[str, Any]) -> str:
    """What was done, in one line."""
    classes = ", ".join(map(str, study["classes"]))
    return (
        f"{study['model']}: {study['recognised']} of {study['photographs']} photographs recognised; "
        f"{study['mosaics']} mosaics {GRID}×{GRID} explained for {len(study['classes'])} classes ({classes}); "
        f"fitted on {study['calibration']} images, {study['calibration_mosaics']:.0%} of them mosaics; "
        f"ridge {study['ridge']:g}, fit_on {study['fit_on']}, conv_bias {study['conv_bias']}, dtype {study['dtype']}, "
        f"seed {study['seed']}; by chance {1 / GRID**2:g}; ± standard error over mosaics"
    )


@dataclass(frozen=True)
class Experiment:
    """What is fitted on and explained. mosaics: [N, 3, S, S], mosaic i for classes[i % len(classes)]; labels: [N, 4];
    calibration: [M, 3, S, S]; study: the options and counts to be reported.
    """

    net: mr.Network
    classes: list[int]
    mosaics: Floats
    labels: NDArray[np.int64]
    calibration: Floats
    study: dict[str, Any]


def experiment(options: argparse.Namespace) -> Experiment:
    """Everything up to the fit. Raises ValueError, MipinError or OSError where model, folder and options do not fit."""
    net = mr.load(options.model)
    shape = net.input_shape
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise ValueError(f"{options.model}: takes {list(shape)} a sample, not square colour images [3, S, S]")
    if options.mosaics < options.classes:
        raise ValueError(f"{options.mosaics} mosaics are too few for {options.classes} classes")
    chosen_tensors(net, options.tensors, ())
    images = photographs(options.photographs)
    right = recognised_by(options.model, net, images)
    note("recognised: " + ", ".join(f"{one.name} ({one.label})" for one in right))
    classes = list(dict.fromkeys(one.label for one in right))[: options.classes]
    if len(classes) < options.classes:
        raise ValueError(f"the network recognises photographs of {len(classes)} classes, not of {options.classes}")
    asked, labels = mosaics(right, options.mosaics, options.seed, shape[1], GRID, targets=classes)
    x, _ = calibration(images, options.calibration, options.seed, shape[1], options.calibration_mosaics)
    names = ("mosaics", "calibration", "calibration_mosaics", "ridge", "fit_on", "conv_bias", "dtype", "seed")
    study = {
        "model": options.model.name,
        "photographs": len(images),
        "recognised": len(right),
        "classes": classes,
        **{name: getattr(options, name) for name in names},
    }
    return Experiment(net, classes, asked, labels, x, study)


def run(of: Experiment, options: argparse.Namespace) -> list[Row]:
    """Fits and explains class by class; the rows of the table."""
    found: dict[int, Explained] = {}
    for c, inv in inverses(of.net, of.calibration, of.classes, options):
        own = slice(of.classes.index(c), None, len(of.classes))
        tensors = chosen_tensors(of.net, options.tensors, [row.tensor for row in inv.report])
        began = time.perf_counter()
        cells = np.argmax(of.labels[own] == c, axis=1)
        found[c] = explained(inv, of.mosaics[own], cells, tensors, batch=options.batch)
        lowest = float(np.mean(found[c].scores[Place(tensors[-1]), KINDS[0]]))
        note(
            f"class {c} ({len(found)} of {len(of.classes)}): {len(cells)} mosaics explained in "
            f"{time.perf_counter() - began:.0f} s, {lowest:.3f} at {tensors[-1]!r}"
        )
        if options.out is not None:
            rows = [asdict(row) for row in table(of.net, found)]
            written(options.out, {**of.study, "classes_explained": len(found), "rows": rows})
    return table(of.net, found)


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


def main() -> None:
    parser = argparse.ArgumentParser(description="the grid pointing game of MIP-IN by depth")
    parser.add_argument("--model", type=Path, required=True, help="ONNX, input [N, 3, S, S] scaled as (x - 127) / 128")
    parser.add_argument("--photographs", type=Path, required=True, help="a folder of files named *_<label>.jpg")
    parser.add_argument("--classes", type=positive, default=8, help="how many of the recognised ones, by file name")
    parser.add_argument("--mosaics", type=positive, default=150)
    parser.add_argument("--calibration", type=positive, default=320, help="images to fit on")
    parser.add_argument("--calibration-mosaics", type=fraction, default=0.5, help="the fraction of them in mosaics")
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
    options = parser.parse_args()
    try:
        of = experiment(options)
    except (mr.MipinError, ValueError, OSError) as error:
        parser.error(str(error))
    rows = run(of, options)
    print(head(of.study))
    print(as_markdown(rows))


if __name__ == "__main__":
    main()
