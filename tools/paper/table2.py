"""Table 2 on ILSVRC itself: box accuracy of all methods, from images, annotations and a network that you have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.ilsvrc import Preparation, Prepared, Selection, covered, images_by_stem, read_samples, read_synsets
from paper.maps import KINDS, batches, flat, signed_map
from paper.page import Block, Table, three
from paper.photographs import square_side
from paper.published import BOX_ACCURACY, MIPIN
from paper.results import Results
from paper.rows import LAST, ROWS, run_rows

NAME = "table2"
TITLE = "Table 2: box accuracy on ILSVRC"
PAPER = (
    "Over 5,000 validation images whose box covers less than 33 %: MIP-IN 0.648 (VGG19) and 0.662 (ResNet50), the best "
    "baseline 0.518 and 0.541 (SmoothGrad). Neither images nor networks come with this package: give yours."
)
HELP = "box accuracy on ILSVRC's images and XML annotations"


def floats(text: str) -> tuple[float, ...]:
    values = tuple(float(one) for one in text.split(","))
    if len(values) != 3:
        raise argparse.ArgumentTypeError(f"must be three numbers with commas, not {text!r}")
    return values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=Path, required=True, help="the validation images, flat or in wnid folders")
    parser.add_argument("--boxes", type=Path, required=True, help="their XML annotations")
    parser.add_argument("--model", type=Path, required=True, help="ONNX, input [N, 3, S, S]")
    parser.add_argument("--synsets", type=Path, required=True, help="text file, line i begins with the wnid of class i")
    parser.add_argument("--calibration", type=Path, help="a folder of images to fit on; without it nothing is fitted")
    parser.add_argument("--calibration-samples", type=int, default=0, help="of that folder, all by default")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--samples", type=int, default=5000, help="images to explain, the first by name; 0 for all")
    parser.add_argument("--resize", type=int, help="of the shorter side before the crop; 8/7 of the input by default")
    parser.add_argument("--mean", type=floats, default=(0.485, 0.456, 0.406))
    parser.add_argument("--std", type=floats, default=(0.229, 0.224, 0.225))
    parser.add_argument("--scale", type=float, default=255.0, help="pixels are divided by it before mean and std")
    parser.add_argument("--bgr", action="store_true")
    parser.add_argument("--batch", type=int, default=16, help="images explained at a time")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--memory", default="4GB")


def scored(panel: mr.Panel, name: str, at: str | None, chosen: Selection, x: Prepared, batch: int) -> dict[str, Any]:
    """Box accuracy by kind of map, None where a kind is flat on every image."""
    side = x.shape[-1]
    y = np.array([one.label for one in chosen.samples])
    scores: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for rows in batches(len(x), batch):
        res = panel.explain(name, x[rows], y[rows], at=at)
        masks = [covered(one.boxes, side) for one in chosen.samples[rows]]
        for kind in KINDS:
            maps = signed_map(res, kind, (side, side))
            # A map that ranks nothing scores 0, also where all of a batch are such.
            whole = np.zeros(len(maps)) if flat(maps) else mr.metrics.box_accuracy(maps, masks).scores
            scores[kind].append(whole)
    means = {kind: float(np.concatenate(parts).mean()) for kind, parts in scores.items()}
    return {"accuracy": means, "at": at or ""}


def run(options: argparse.Namespace, results: Results) -> None:
    net = mr.load(options.model)
    side = square_side(net, options.model)
    resize = options.resize or round(side * 8 / 7)
    if resize < side:
        raise ValueError(f"--resize: {resize} pixels are fewer than the {side} of the network's input")
    how = Preparation(side, resize, options.mean, options.std, options.scale, options.bgr)
    synsets = read_synsets(options.synsets)
    if len(synsets) != net.classes:
        raise ValueError(f"{options.synsets}: lists {len(synsets)} classes, the network has {net.classes}")
    chosen = read_samples(options.images, options.boxes, synsets, how, options.samples)
    x = Prepared([one.path for one in chosen.samples], how)
    calibration = None
    if options.calibration is not None:
        paths = list(images_by_stem(options.calibration).values())
        calibration = Prepared(paths[: options.calibration_samples or None], how)
    given = {
        "sha256": net.sha256,
        "model": options.model.name,
        "samples": len(x),
        "too_large": chosen.too_large,
        "outside": chosen.outside,
        "calibration": 0 if calibration is None else len(calibration),
        "resize": resize,
        **{key: getattr(options, key) for key in ("mean", "std", "scale", "bgr", "dtype")},
    }

    def panel(at: str | None) -> mr.Panel:
        fit: Any = {"at": at}
        return mr.Panel(net, calibration, fit_options=fit, dtype=options.dtype, memory=options.memory)

    def measure(panel: mr.Panel, method: str, at: str | None) -> dict[str, Any]:
        return scored(panel, method, at, chosen, x, options.batch)

    classes = {one.label for one in chosen.samples}
    run_rows(results, NAME, options.rows, net, panel=panel, measure=measure, given=lambda _: given, classes=classes)


def expected() -> list[str]:
    return list(ROWS)


def blocks(results: Results) -> list[Block]:
    parts = results.parts(NAME, ROWS)
    if not parts:
        return []
    options = next(iter(parts.values())).options
    rows = []
    for row, part in parts.items():
        paper = BOX_ACCURACY.get(MIPIN if row == MIPIN + LAST else row, (None, None))
        published = " / ".join(map(three, (None, None) if row == MIPIN else paper))
        if "failed" in part.result:
            rows.append([row, "failed", part.result["failed"], "", "", published])
        else:
            rows.append([row, *(three(part.result["accuracy"][kind]) for kind in KINDS), published])
    caption = (
        f"{options['model']}, {options['samples']:,} images, {options['too_large']} more left out for the size of "
        f"their boxes; fitted on {options['calibration']:,}; the paper: VGG19 / ResNet50"
    )
    return [Table(["method", *KINDS, "paper"], rows, caption)]
