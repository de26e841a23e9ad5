"""Sentences of which the tokens that decide are known: how high every method ranks them, on a transformer and an LSTM.

Both networks are trained here, with seeds, on sentences with planted evidence (tools/training/planted.py), where the
folder of networks does not have them yet. Nothing is chosen on the sentences that are explained.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.intervals import bootstrap
from training.files import write_json, write_whole
from training.planted import ID, UNKNOWN, Sentences, sentences

NAME = "text"
HELP = "how high methods rank the tokens that decide, on a transformer and an LSTM: a table by itself"
NETWORKS = ("transformer", "lstm")
SEEDS = (0, 1, 2)
TEST_SEED, CALIBRATION_SEED = 7, 8
TOP = 2
"""Tokens of evidence that a sentence holds, and tokens that are deleted."""
MIP_IN: dict[str, dict[str, Any]] = {
    "mip-in": {},
    "mip-in, ridge 10": {"ridge": 10.0},
    "mip-in, ridge 100": {"ridge": 100.0},
    "mip-in, ridge 1000": {"ridge": 1000.0},
    "mip-in, norm sigma": {"norm": "sigma"},
    "mip-in, norm sigma, ridge 100": {"norm": "sigma", "ridge": 100.0},
    "mip-in, no mask": {"local": False},
}
"""Row -> options of the fit."""
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
HELD_OUT = "mip-in, ridge held out"
"""The ridge of RIDGES, one for all tensors, under which sentences that were not fitted on are reconstructed best."""
HELD = 5
"""One in so many sentences to fit on is held out for that."""
LEAST = 0.95
"""Of other sentences that a network has right; one that has fewer did not learn the task and is left out."""
OPTIONS: dict[str, dict[str, Any]] = {
    # What is covered becomes the word that stands for unknown ones in training.
    "occlusion": {"window": 1, "baseline": float(ID[UNKNOWN])},
    "kernel-shap": {"baseline": float(ID[UNKNOWN])},
    "rise": {"baseline": float(ID[UNKNOWN])},
}
RANDOM = "random order"


class Measured(NamedTuple):
    """Of every sentence: hits, the share of its evidence among the TOP tokens; area, the chance that a token of
    evidence stands above one of noise; drop, how far the logit falls once the TOP tokens are unknown words.
    """

    hits: NDArray[np.float64]
    area: NDArray[np.float64]
    drop: NDArray[np.float64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", type=Path, required=True, help="a folder; networks that it lacks are trained")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--samples", type=int, default=200, help="sentences that are explained, of each network")
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


def ranked(scores: NDArray[Any], data: Sentences) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """hits and area [N] of scores [N, T]: see `Measured`. Ties count half in the area; the first token, and what is
    behind a negator or is one, are left out of both: what they should score is not known.
    """
    noise = ~(data.evidence | data.negated)
    noise[:, 0] = False
    hits, area = np.zeros(len(scores)), np.zeros(len(scores))
    for row, one in enumerate(scores.astype(np.float64)):
        good, bad = one[data.evidence[row]], one[noise[row]]
        area[row] = np.mean((good[:, None] > bad) + 0.5 * (good[:, None] == bad))
        known = np.where(noise[row] | data.evidence[row], one, -np.inf)
        hits[row] = data.evidence[row, np.argsort(-known, kind="stable")[:TOP]].mean()
    return hits, area


def deleted(scores: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sentences with the TOP tokens, but for the first, as unknown words."""
    top = np.argsort(-scores[:, 1:], axis=1, kind="stable")[:, :TOP] + 1
    made = ids.copy()
    np.put_along_axis(made, top, ID[UNKNOWN], axis=1)
    return made


def measured(net: mr.Network, scores: NDArray[Any], data: Sentences) -> Measured:
    rows = np.arange(len(data.ids))
    before, after = net.predict(data.ids)[1], net.predict(deleted(scores, data.ids))[1]
    return Measured(*ranked(scores, data), (before - after)[rows, data.classes])


def ways(net: mr.Network, calibration: NDArray[np.int64]) -> dict[str, Callable[[Sentences], NDArray[Any]]]:
    """Row -> the score of every token [N, T]: Σ over features of A ⊙ X."""

    def by(method: str, **options: Any) -> Callable[[Sentences], NDArray[Any]]:
        def scores(data: Sentences) -> NDArray[Any]:
            targets = [int(c) for c in data.classes]
            result = mr.attribute(net, data.ids, targets, method, **options).oriented
            made = result.contribution
            return made if made.ndim == 2 else made.sum(axis=-1)

        return scores

    def by_patterns(name: str) -> Callable[[Sentences], NDArray[Any]]:
        # What it is fitted on is given as patterns, which this network may have none of.
        return lambda data: by(name, patterns=mr.fit_patterns(net, calibration))(data)

    def held_out(data: Sentences) -> NDArray[Any]:
        return by("mip-in", calibration=calibration, ridge=best_ridge(net, calibration))(data)

    def random(data: Sentences) -> NDArray[Any]:
        return np.random.default_rng(0).random(data.ids.shape)

    fits = {row: by("mip-in", calibration=calibration, **given) for row, given in MIP_IN.items()}
    others = {name: by(name, **OPTIONS.get(name, {})) for name in mr.methods() if name not in ("mip-in", "gradient")}
    for name in ("patternnet", "pattern-attribution"):
        others[name] = by_patterns(name)
    return {**fits, HELD_OUT: held_out, **others, RANDOM: random}


def best_ridge(net: mr.Network, calibration: NDArray[np.int64]) -> float:
    """See HELD_OUT: by the squared error of the source signals of all classes at the embedding."""
    classes = list(range(net.classes))
    errors = []
    for ridge in RIDGES:
        error = 0.0
        for inverse in mr.fit(net, calibration[len(calibration) // HELD :], classes, ridge=ridge).values():
            made = inverse.attribute(calibration[: len(calibration) // HELD])
            error += float(np.sum((made.value - made.source) ** 2))
        errors.append(error)
    return RIDGES[int(np.argmin(errors))]


def rows_of(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a method, its figures over the sentences of all seeds that the network takes for their class."""
    kept: dict[str, list[Measured]] = {}
    refused: dict[str, str] = {}
    for seed in options.seeds:
        net = network(options.networks, name, seed)
        data = sentences(options.samples, TEST_SEED)
        right = net.predict(data.ids)[1].argmax(axis=1) == data.classes
        if right.mean() < LEAST:
            print(f"{name} {seed}: left out, it has {right.mean():.0%} of other sentences right", flush=True)
            continue
        data = Sentences(*(one[right] for one in data))
        calibration = sentences(options.calibration, CALIBRATION_SEED).ids
        for row, scores in ways(net, calibration).items():
            try:
                kept.setdefault(row, []).append(measured(net, scores(data), data))
            except mr.MipinError as error:
                refused[row] = str(error)
            print(f"{name} {seed}, {row}: {refused.get(row) or np.mean(kept[row][-1].hits)}", flush=True)
    rows = []
    for row, parts in kept.items():
        if row in refused:
            continue
        whole = Measured(*(np.concatenate(one) for one in zip(*parts, strict=True)))
        told: dict[str, Any] = {"network": name, "method": row}
        for key, values in whole._asdict().items():
            told[key], told[f"{key}_low"], told[f"{key}_high"] = bootstrap(values)
        rows.append(told)
    return sorted(rows, key=lambda one: -one["hits"])


def run(options: argparse.Namespace) -> None:
    rows = [row for name in NETWORKS for row in rows_of(name, options)]
    for one in rows:
        figures = (
            f"{key} {one[key]:.3f} ({one[f'{key}_low']:.3f}, {one[f'{key}_high']:.3f})" for key in Measured._fields
        )
        print(f"{one['network']:12} {one['method']:36} {'  '.join(figures)}")
    if options.json is not None:
        write_json(options.json, {"rows": rows})
