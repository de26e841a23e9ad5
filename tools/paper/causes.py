"""What the average percentage change of Table 1 depends on: one thing at a time, training, fit and what is counted."""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.changes import changes, summary
from paper.page import Block, Table, fact, interval, percent
from paper.published import APC
from paper.results import Results, part_of
from paper.table1 import data_of
from paper.variants import VARIANTS, Variant, variants_of
from training.files import MODELS, write_whole
from training.keras import add_data, scaled
from training.paper_variants import moments, recentred, trained
from training.sets import Dataset

NAME = "causes"
TITLE = "What Table 1 depends on"
PAPER = (
    "Dropout in training, at no stated rate; 50,000 calibration images, ridge 0.001 in dense layers; nothing is said "
    "of weight decay, of how inputs are scaled, or of the images that the changes are means of."
)
HELP = "APC and positive APC by training, options of the fit and what is counted, one thing at a time"
NETWORKS = ("mnist_mlp", "rgb32_cnn")
SPLITS = ("test", "calibration")

Floats = NDArray[np.floating[Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--samples", type=int, default=10_000, help="calibration images")
    parser.add_argument("--evaluated", type=int, default=5_000, help="images of either split that changes are means of")
    parser.add_argument("--images", type=int, default=50_000, help="that a network is trained on, where it is anew")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--seed", type=int, default=0, help="of training, and of the composed images")


class Prepared:
    """Bytes [N, C, H, W] as a network takes them, batch by batch."""

    def __init__(self, stored: NDArray[np.uint8], mean: Floats, deviation: Floats) -> None:
        self._stored, self._mean, self._deviation = stored, mean[:, None, None], deviation[:, None, None]
        self.shape, self.dtype = stored.shape, np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        values = (scaled(self._stored[index]) - self._mean) / self._deviation
        return values.astype(np.float32, copy=False)


def network_of(name: str, variant: Variant, data: Dataset, options: argparse.Namespace, folder: Path) -> mr.Network:
    """The network of a variant, trained once and kept beside the results."""
    embedded = MODELS / name / "model.onnx"
    if variant.recentred:
        return mr.load(recentred(embedded.read_bytes(), *moments(data.x_train[: trained_images(variant, options)])))
    if variant.training is None:
        return mr.load(embedded)
    told = "-".join(str(of) for of in vars(variant.training).values())
    images = trained_images(variant, options)
    path = folder / "networks" / f"{name}-{told}-{images}-{options.seed}.onnx"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_whole(path, trained(name, variant.training, data, images, options.seed))
    return mr.load(path)


def trained_images(variant: Variant, options: argparse.Namespace) -> int:
    """How many images a network is trained on."""
    return int(options.images * variant.trained_on)


def measured(
    net: mr.Network, variant: Variant, data: Dataset, moved: tuple[Floats, Floats], options: argparse.Namespace
) -> dict[str, Any]:
    count = int(options.samples * variant.factor)
    inverses = mr.fit(
        net,
        Prepared(data.x_train[:count], *moved),
        list(range(net.classes)),
        labels=data.y_train[:count],
        memory=options.memory,
        **variant.fit,
    )
    result: dict[str, Any] = {
        "r2": {
            tensor: float(np.mean([inv.report[tensor].r2 for inv in inverses.values()]))
            for tensor in (one.tensor for one in next(iter(inverses.values())).report)
        }
    }
    for split, x, y in (("test", data.x_test, data.y_test), ("calibration", data.x_train[:count], data.y_train)):
        rows = slice(0, min(options.evaluated, len(x)))
        result[split] = summary(changes(net, inverses, Prepared(x, *moved)[rows], y[rows]), y[rows])
    return result


def run(options: argparse.Namespace, results: Results) -> None:
    read = cache(lambda name: data_of(name, options))
    for name in options.networks:
        for title in options.variants:
            if title not in variants_of(name):
                continue
            variant = VARIANTS[title]
            given = {key: getattr(options, key) for key in ("samples", "evaluated", "seed")}
            given |= {"fit": variant.fit, "factor": variant.factor, "recentred": variant.recentred}
            given |= {} if variant.training is None else {"training": vars(variant.training)}
            given |= {} if variant.training is None else {"images": trained_images(variant, options)}

            def make(name: str = name, variant: Variant = variant) -> dict[str, Any]:
                data = read(name)
                normalised = variant.recentred or (variant.training is not None and variant.training.normalised)
                moved = moments(data.x_train[: trained_images(variant, options)], normalised)
                return measured(network_of(name, variant, data, options, results.folder), variant, data, moved, options)

            results.part(NAME, part_of(name, title), given, make)


def expected() -> list[str]:
    return [part_of(name, title) for name in NETWORKS for title in variants_of(name)]


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a network and variant, as numbers. test_, calibration_: of either split; q05 to q95: quantiles of changes
    over samples; lowest, highest: positive APC of a class.
    """
    told = []
    for name in NETWORKS:
        for title, part in results.parts(NAME, variants_of(name), name).items():
            row: dict[str, Any] = {"network": name, "variant": title, "r2": list(part.result["r2"].values())[-1]}
            row |= {key: part.options[key] for key in ("samples", "evaluated")}
            for split in SPLITS:
                one = dict(part.result[split])
                quantiles, classes = one.pop("quantiles"), one.pop("classes")
                one |= {f"q{round(100 * float(key)):02}": value for key, value in quantiles.items()}
                by_class = [of["positive"] for of in classes.values()]
                one |= {"lowest": min(by_class), "highest": max(by_class)}
                row |= {f"{split}_{key}": value for key, value in one.items()}
            told.append(row)
    return told


def values(results: Results) -> dict[str, float]:
    """APC and positive APC with their intervals by network, variant and split, for sentences."""
    return {
        fact(row["network"], row["variant"], split, key): row[f"{split}_{key}"]
        for row in rows(results)
        for split in SPLITS
        for key in ("apc", "apc_low", "apc_high", "positive", "positive_low", "positive_high")
    }


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    for name in NETWORKS:
        parts = results.parts(NAME, variants_of(name), name)
        if not parts:
            continue
        lines = [
            [
                row["variant"],
                split,
                percent(row[f"{split}_accuracy"]),
                f"{row[f'{split}_logit']:.1f}",
                f"{row['r2']:.2f}",
                *(interval(row, f"{split}_{key}", percent, " to ") for key in ("apc", "positive")),
                *(
                    percent(row[f"{split}_{key}"])
                    for key in ("q05", "q50", "q95", "positive_right", "positive_clipped")
                ),
            ]
            for row in rows(results)
            if row["network"] == name
            for split in SPLITS
        ]
        head = ["variant", "evaluated on", "accuracy", "logit", "R² at input", "APC", "positive APC", "5 %", "median"]
        head += ["95 %", "positive, right ones", "positive, S clipped"]
        options = next(iter(parts.values())).options
        published = " / ".join(map(percent, APC[name]))
        told.append(
            Table(
                head,
                lines,
                f"{name}, {options['samples']:,} calibration images, {options['evaluated']:,} evaluated; the paper's "
                f"{published}; intervals of 95 % by bootstrap; quantiles of (Φ(X) - Φ(S)) / |Φ(X)| over samples",
            )
        )
        by_class = parts[next(iter(parts))].result["test"]["classes"]
        lines = [
            [c, str(one["samples"]), f"{one['logit']:.1f}", percent(one["apc"]), percent(one["positive"])]
            for c, one in by_class.items()
        ]
        caption = f"{name}, {next(iter(parts))}, test images, by class"
        told.append(Table(["class", "samples", "logit", "APC", "positive APC"], lines, caption))
    return told
