"""Table 2 on boxed clutter: box accuracy of all methods on a VGG and a ResNet.

What can be chosen, the kind of map of every method, the tensor of the rows that say so, and the options of MIP-IN (by
the study), is chosen on validation scenes of training images; the test scenes are explained once, with what was chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

import mipin_ref as mr
from paper.maps import FEWER, KINDS, Key, accuracies, batches, signed_map
from paper.page import Block, Table, signed, three
from paper.places import last_map
from paper.published import BOX_ACCURACY, GRAD_CAM, METHODS, MIPIN, TITLES
from paper.results import Results, part_of
from paper.rows import LAST, method_of
from paper.scenes import (
    CALIBRATION_SEED,
    NETWORKS,
    TEST_SEED,
    VALIDATION_SEED,
    Boxed,
    add_scenes,
    fit_options,
    network,
    places,
    scenes,
)
from paper.study import NAME as STUDY
from paper.study import VARIANTS, best_rows, calibration_of, fitted

NAME = "clutter"
TITLE = "Table 2, on a stand-in: box accuracy on boxed clutter"
PAPER = (
    "Box accuracy on ILSVRC validation images whose box covers less than 33 %, VGG19 / ResNet50. MIP-IN is the best, "
    "by 0.13 and 0.121 over the best baseline; there it explains the last feature map, 7×7, resized to the image."
)
HELP = "box accuracy of all methods on the clutter networks (the stand-in for Table 2)"
CHOSEN, BY_STUDY = ", tensor chosen", "mip-in, as the study chose"
INNER = (MIPIN, GRAD_CAM, "input-x-gradient", "guided-backprop", "excitation-backprop")
"""Methods that are also read at the tensor where they are best."""
ROWS = [
    *METHODS,
    MIPIN + LAST,
    *(name + CHOSEN for name in INNER),
    BY_STUDY,
]
"""A method's name alone means the pixels, but for Grad-CAM, whose own place is the last feature map."""
PAPER_MARGINS = (0.13, 0.121)
SIGNED = ("contribution", "attribution")
Explain = Callable[[Any, Any], mr.Attribution]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_scenes(parser)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--calibration", type=int, default=900, help="scenes to fit on")
    parser.add_argument("--validation", type=int, default=300, help="scenes to choose the kind of map on")
    parser.add_argument("--samples", type=int, default=2000, help="test scenes")
    parser.add_argument("--seed", type=int, default=TEST_SEED, help="of the test scenes")


def scored(explain: Explain, of: Boxed, kinds: tuple[str, ...] = KINDS) -> dict[str, float | None]:
    """Box accuracy of the true class's maps by kind; None where a kind is flat on every scene."""
    size = (of.x.shape[2], of.x.shape[3])
    maps = {kind: np.empty((len(of.x), *size), np.float32) for kind in kinds}
    for rows in batches(len(of.x)):
        res = explain(of.x[rows], of.y[rows])
        for kind in kinds:
            maps[kind][rows] = signed_map(res, kind, size)
    return accuracies(maps, of.boxes)


def best(scores: Mapping[Key, float | None]) -> Key:
    """The kind, or whatever else is scored, that scores highest. Raises ValueError where nothing does."""
    known = {key: value for key, value in scores.items() if value is not None}
    if not known:
        raise ValueError("every map is flat, so that nothing is ranked")
    return max(known, key=lambda key: known[key])


class Subject:
    """One network with its scenes and methods; nothing is composed or fitted before it is needed."""

    def __init__(self, name: str, options: argparse.Namespace, results: Results) -> None:
        self.name, self.net = name, network(name)
        self._options, self._results = options, results
        calibration = scenes(options, "train", options.calibration, CALIBRATION_SEED)
        fit = fit_options(results)
        self.panel = mr.Panel(
            self.net, calibration.x, fit_options=fit, method_options=FEWER, dtype="float32", memory="1GB"
        )
        self.validation = scenes(options, "train", options.validation, VALIDATION_SEED)
        self.test = scenes(options, "test", options.samples, options.seed)

    def row(self, row: str) -> dict[str, Any]:
        """Scores of validation scenes by kind, the kind chosen, and the score of the test scenes with it."""
        try:
            if row == BY_STUDY:
                return self._by_study()
            if row.endswith(CHOSEN):
                return self._by_tensor(row.removesuffix(CHOSEN))
            name = method_of(row)
            at = last_map(self.net) if row.endswith(LAST) else None
            self._prepare(name)
            return self._measured(lambda x, y: self.panel.explain(name, x, y, at=at), at)
        except (mr.MipinError, ValueError) as error:
            return {"failed": str(error)}

    def _prepare(self, name: str) -> None:
        if name == MIPIN:
            self.panel.prepare(range(self.net.classes))

    def _measured(self, explain: Explain, at: str | None) -> dict[str, Any]:
        scores = scored(explain, self.validation)
        kind = best(scores)
        (test,) = scored(explain, self.test, (kind,)).values()
        return {"validation": scores, "kind": kind, "at": at or "", "test": test}

    def _by_tensor(self, name: str) -> dict[str, Any]:
        self._prepare(name)

        def at(tensor: str) -> Explain:
            return lambda x, y: self.panel.explain(name, x, y, at=tensor)

        scores = {
            (tensor, kind): score
            for tensor in places(self.net)
            for kind, score in scored(at(tensor), self.validation).items()
        }
        tensor, kind = best(scores)
        (test,) = scored(at(tensor), self.test, (kind,)).values()
        by_tensor = {tensor: {k: scores[tensor, k] for k in KINDS} for tensor, _ in scores}
        return {"validation": {kind: scores[tensor, kind]}, "kind": kind, "at": tensor, "test": test, "all": by_tensor}

    def _by_study(self) -> dict[str, Any]:
        chosen = next(best_rows(self._results, self.name), None)
        if chosen is None:
            raise ValueError("the study has no result yet: run `study` first")
        _, title, tensor, kind = chosen
        variant = VARIANTS[title]
        classes = sorted(set(self.test.y.tolist()))
        # The study's own fit, whatever number of scenes the other rows are fitted on.
        part = self._results.read(STUDY, part_of(self.name, title))
        assert part is not None
        count = part.options["calibration"]
        at = None if tensor == self.net.input else tensor
        calibration = calibration_of(self._options, variant, count)
        inverses = fitted(self.net, calibration, variant, classes, self._results, at)
        size = (self.test.x.shape[2], self.test.x.shape[3])
        maps = np.empty((len(self.test.x), *size), np.float32)
        for c in classes:
            rows = np.flatnonzero(self.test.y == c)
            for cut in batches(len(rows)):
                res = inverses[c].attribute(self.test.x[rows[cut]], at=tensor)
                maps[rows[cut]] = signed_map(res, kind, size)
        test = mr.metrics.box_accuracy(maps, self.test.boxes).mean
        return {
            "validation": {kind: chosen[0]},
            "kind": kind,
            "at": tensor,
            "test": test,
            "variant": title,
            "scenes": count,
        }


def run(options: argparse.Namespace, results: Results) -> None:
    for name in options.networks:
        subject = Subject(name, options, results)
        for row in options.rows:
            given = {
                "sha256": subject.net.sha256,
                **{key: getattr(options, key) for key in ("calibration", "validation", "samples", "seed")},
                "method": FEWER.get(row, {}),
            }
            if row == BY_STUDY:
                given["chosen"] = next(best_rows(results, name), None)
            results.part(NAME, part_of(name, row), given, partial(subject.row, row))


def expected() -> list[str]:
    return [part_of(name, row) for name in NETWORKS for row in ROWS]


def validated(one: Mapping[str, Any]) -> dict[str, float | None]:
    """The scores of a row on the validation scenes, by kind of map, where the row was read."""
    scores: dict[str, float | None] = one.get("all", {}).get(one.get("at"), one.get("validation", {}))
    return scores


def tested(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return {row: one["test"] for row, one in rows.items() if one.get("test") is not None}


def ranked_with_sign(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """On the validation scenes, by the better of the two kinds of map that keep their sign."""
    by_row = {row: [s for kind in SIGNED if (s := validated(one).get(kind)) is not None] for row, one in rows.items()}
    return {row: max(scores) for row, scores in by_row.items() if scores}


def margins(scores: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """For each row of MIP-IN the margins over the best of the others, then of those that the paper compared with."""
    others = {row: score for row, score in scores.items() if not row.startswith(MIPIN)}
    told = []
    for row in (row for row in scores if row.startswith(MIPIN)):
        for names in (list(others), [name for name in others if name in BOX_ACCURACY]):
            if names:
                rival = max(names, key=lambda name: others[name])
                told.append((row, rival, scores[row] - others[rival]))
    return told


def rows(results: Results) -> list[dict[str, Any]]:
    """A row a network and method that was measured, by falling accuracy. with_sign: on the validation scenes."""
    told = []
    for number, name in enumerate(NETWORKS):
        parts = {row: part.result for row, part in results.parts(NAME, ROWS, name).items()}
        signed_scores = ranked_with_sign(parts)
        for row, one in sorted(tested_rows(parts).items(), key=lambda item: -item[1]["test"]):
            paper = None if row == MIPIN else BOX_ACCURACY.get(method_of(row), (None, None))[number]
            about = {"kind": one["kind"], "at": one["at"], "variant": one.get("variant")}
            scores = {"box": one["test"], "with_sign": signed_scores.get(row), "paper": paper}
            told.append({"network": name, "method": TITLES.get(row, row), **scores, **about})
    return told


def tested_rows(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What was explained on the test scenes, without what failed."""
    return {row: one for row, one in parts.items() if one.get("test") is not None}


def blocks(results: Results) -> list[Block]:
    told: list[Block] = []
    for number, name in enumerate(NETWORKS):
        parts = results.parts(NAME, ROWS, name)
        if not parts:
            continue
        rows = {row: part.result for row, part in parts.items()}
        part = next(iter(parts.values()))
        cells = []
        for row, one in sorted(rows.items(), key=lambda item: -(item[1].get("test") or 0)):
            paper = BOX_ACCURACY.get(method_of(row), (None, None))[number]
            if row == MIPIN:
                paper = None
            if "failed" in one:
                cells.append([TITLES.get(row, row), "failed", "", one["failed"], "", "", three(paper)])
                continue
            where = one["at"] + (f" ({one['variant']})" if "variant" in one else "")
            scores = validated(one)
            signed_scores = [three(scores.get(kind)) for kind in SIGNED]
            cells.append([TITLES.get(row, row), three(one["test"]), one["kind"], where, *signed_scores, three(paper)])
        chance = f"{part.options['samples']:,} test scenes (seed {part.options['seed']}), "
        told.append(
            Table(
                ["method", "box accuracy", "kind of map", "at, where not the pixels", "A·X", "A", "paper"],
                cells,
                f"{name}: {chance}fitted on {part.options['calibration']:,}; kind of map chosen on "
                f"{part.options['validation']:,} validation scenes; "
                "A·X and A: of maps ranked with their sign, on the validation scenes",
            )
        )
        by_row: dict[str, list[str]] = {}
        for read in (tested(rows), ranked_with_sign(rows)):
            for row in (row for row in rows if row.startswith(MIPIN)):
                against = [f"{signed(margin)} ({rival})" for mine, rival, margin in margins(read) if mine == row]
                by_row.setdefault(row, []).extend(against or ["–", "–"])
        if by_row:
            head = ["margin of", "best of all", "best of the paper's", "best of all, with sign", "paper's, with sign"]
            caption = f"{name}: margins over the best other row; the paper's is {PAPER_MARGINS[number]:.3f}"
            told.append(Table(head, [[TITLES.get(row, row), *cells] for row, cells in by_row.items()], caption))
    return told
