"""Whether maps say what a network reads: deletion, insertion, Quantus's faithfulness metrics, randomised weights."""

from __future__ import annotations

import argparse
import contextlib
import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.digits import digits, garments
from paper.intervals import bootstrap, in_row
from paper.maps import FEWER
from paper.page import Block, Table, fact, interval
from paper.published import METHODS, MIPIN
from paper.redrawing import rank_correlations, redrawn
from paper.results import Results, or_failed, part_of
from paper.scenes import CALIBRATION_SEED, TEST_SEED, network, scenes
from paper.scenes import NETWORKS as CLUTTER
from training.keras import add_data

NAME = "faithfulness"
TITLE = "Faithfulness of all methods"
PAPER = "The paper measures faithfulness by the source signal alone (Table 1); it has no table of the methods' maps."
HELP = "deletion, insertion, Quantus's faithfulness metrics and randomised weights, all methods on the same images"
NETWORKS = ("mnist_mlp", "mnist_cnn", "rgb32_cnn", *CLUTTER)
CHOSEN = ("mnist_mlp", "mnist_cnn")
"""Those measured where none is named."""
RANDOM, ENDING = "random", ", own class"
"""Maps of noise: what a figure is worth. Behind MIP-IN's name: fitted on the images of the class alone."""
ROWS = [RANDOM, *METHODS, MIPIN + ENDING]

Floats = NDArray[np.floating[Any]]
Values = dict[str, Floats]

QUANTUS: dict[str, tuple[str, dict[str, Any]]] = {
    "correlation": ("FaithfulnessCorrelation", {"nr_runs": 50, "subset_size": 0.3}),
    "estimate": ("FaithfulnessEstimate", {"steps": 28}),
    "monotonicity": ("MonotonicityCorrelation", {"steps": 28, "nr_samples": 5}),
    "selectivity": ("Selectivity", {"patch_size": 7}),
}
"""By our name: the class of Quantus and its options; a share is of the values of an image, steps are how many a curve
has, or as many less as divide them. Of Selectivity a score is the mean of its curve, the logit as patches go."""
QUIET = {
    "disable_warnings": True,
    "display_progressbar": False,
    "return_aggregate": False,
    "perturb_baseline": "black",
}
HEADS = {
    "deletion": "deletion ↓",
    "insertion": "insertion ↑",
    "correlation": "correlation ↑",
    "estimate": "estimate ↑",
    "monotonicity": "monotonicity ↑",
    "selectivity": "selectivity ↓",
    "redrawn": "redrawn → 0",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(CHOSEN))
    parser.add_argument("--methods", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--samples", type=int, default=100, help="test images that are explained, of their own class")
    parser.add_argument("--calibration", type=int, default=2000, help="training images to fit on")
    parser.add_argument("--steps", type=int, default=28, help="of a curve")


def maps_of(panels: dict[str, mr.Panel], row: str, x: Floats, y: NDArray[np.int64]) -> Floats:
    """Maps [N, H, W] of A·X for each image's own class, with their sign, resized to the image."""
    if row == RANDOM:
        return np.random.default_rng(0).standard_normal((len(x), *x.shape[2:]))
    panel, method = panels[ENDING if row.endswith(ENDING) else ""], row.removesuffix(ENDING)
    if method == MIPIN:
        panel.prepare(np.unique(y).tolist())
    maps = np.empty((len(x), *x.shape[2:]))
    for c in np.unique(y).tolist():
        res = panel.explain(method, x[y == c], c)
        maps[y == c] = mr.saliency(res, positive=False, size=(x.shape[2], x.shape[3]))
    return maps


def quantus_scores(net: mr.Network, x: Floats, y: NDArray[np.int64], maps: Floats) -> Values:
    """The scores [N] of QUANTUS on the logit; a missing pixel is black, as in deletion.

    The probability of a digit is so near to one that in float32 what a few pixels change of it is rounding.
    """
    with warnings.catch_warnings():
        # It imports what it does not need, and warns of all it may be given.
        warnings.simplefilter("ignore")
        import quantus

        count = int(np.prod(x.shape[1:]))
        told: Values = {}
        model = mr.metrics.quantus_model(net)
        for key, (name, options) in QUANTUS.items():
            given: dict[str, Any] = {**QUIET, **options}
            if "subset_size" in given:
                given["subset_size"] = int(given["subset_size"] * count)
            if "steps" in given:
                given["features_in_step"] = count // steps_of(count, given.pop("steps"))
            np.random.seed(0)  # noqa: NPY002 - Quantus draws from it
            with contextlib.redirect_stdout(io.StringIO()):
                metric = getattr(quantus, name)(**given)
                scores = metric(model=model, x_batch=x, y_batch=y, a_batch=maps[:, None], softmax=False, device="cpu")
            told[key] = np.asarray(scores, np.float64).reshape(len(x), -1).mean(axis=1)
    return told


def steps_of(count: int, most: int) -> int:
    """The largest number of steps, up to most, that divides count values into equal ones, as Quantus asks."""
    return next(steps for steps in range(most, 0, -1) if count % steps == 0)


def measured(
    nets: tuple[mr.Network, mr.Network],
    panels: tuple[dict[str, mr.Panel], dict[str, mr.Panel]],
    row: str,
    data: tuple[Floats, NDArray[np.int64]],
    steps: int,
) -> dict[str, list[float]]:
    """Every measure of a row, a value an image. nets, panels: of the network, and of it with weights drawn anew."""
    x, y = data
    maps = maps_of(panels[0], row, x, y)
    told: Values = {
        kind: curve(nets[0], x, maps, y, steps=steps).auc
        for kind, curve in (("deletion", mr.metrics.deletion), ("insertion", mr.metrics.insertion))
    }
    told |= quantus_scores(nets[0], x, y, maps)
    if row != RANDOM:
        told["redrawn"] = rank_correlations(maps_of(panels[1], row, x, y), maps)
    return {key: values.tolist() for key, values in told.items()}


def data_of(name: str, options: argparse.Namespace) -> tuple[Any, Any, Any, Any]:
    """Calibration images and their labels, images to explain and their labels."""
    if name in CLUTTER:
        fitted, shown = (
            scenes(options, split, samples, seed)
            for split, samples, seed in (
                ("train", options.calibration, CALIBRATION_SEED),
                ("test", options.samples, TEST_SEED),
            )
        )
        return fitted.x, fitted.y, shown.x, shown.y
    read, path = (garments, options.fashion) if name == "rgb32_cnn" else (digits, options.mnist)
    return (*read(path, "train", options.calibration), *read(path, "test", options.samples))


def run(options: argparse.Namespace, results: Results) -> None:
    for title in options.networks:
        calibration, labels, x, y = data_of(title, options)
        net = network(title)
        nets = (net, redrawn(net, [net.logits])[net.logits])
        panels = tuple({"": panel(net, calibration), ENDING: panel(net, calibration, labels)} for net in nets)
        given = {"sha256": nets[0].sha256}
        given |= {key: getattr(options, key) for key in ("samples", "calibration", "steps")}
        for row in options.methods:

            def make(row: str = row) -> dict[str, Any]:
                return measured(nets, panels, row, (x, y), options.steps)  # type: ignore[arg-type] # noqa: B023

            results.part(NAME, part_of(title, row), given, or_failed(make))


def panel(net: mr.Network, calibration: Floats, labels: NDArray[np.int64] | None = None) -> mr.Panel:
    """All methods on one network, MIP-IN fitted on all images, or given labels on those of the class."""
    own: Any = {} if labels is None else {"labels": labels, "fit_on": "target_class"}
    return mr.Panel(net, calibration, method_options=FEWER, fit_options=own, memory="1GB")


def expected() -> list[str]:
    return [part_of(title, row) for title in CHOSEN for row in ROWS]


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a network and method, the best by deletion first: of every measure the mean over images, its interval."""
    told = []
    for title in NETWORKS:
        for row, part in results.parts(NAME, ROWS, title).items():
            if "failed" in part.result:
                continue
            one: dict[str, Any] = {"network": title, "method": row}
            for key in HEADS:
                one |= in_row(key, bootstrap([np.nan if v is None else v for v in part.result.get(key, [None])]))
            told.append({key: None if value != value else value for key, value in one.items()})
    return sorted(told, key=lambda row: (NETWORKS.index(row["network"]), row["deletion"]))


def values(results: Results) -> dict[str, float | None]:
    """The means by network, method and measure, for sentences."""
    return {fact(row["network"], row["method"], key): row[key] for row in rows(results) for key in HEADS}


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    every = rows(results)
    for title in NETWORKS:
        parts = results.parts(NAME, ROWS, title)
        lines = [
            [
                row["method"],
                *(interval(row, key, between=" to ") for key in HEADS),
            ]
            for row in every
            if row["network"] == title
        ]
        if lines:
            options = next(iter(parts.values())).options
            caption = (
                f"{title}, {options['samples']} test images, maps A·X of the label, fitted on "
                f"{options['calibration']:,}; means and intervals of 95 % by bootstrap over images; deletion and "
                "insertion: area under the probability; the next four by Quantus, of the logit; redrawn: rank "
                "correlation with the map of the network whose logits' weights are drawn anew"
            )
            told.append(Table(["method", *HEADS.values()], lines, caption))
        failed = {name: part.result["failed"] for name, part in parts.items() if "failed" in part.result}
        told += [f"{title}, {name} fails: {reason}" for name, reason in failed.items()]
    return told
