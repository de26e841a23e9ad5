"""The result of one call: maps, classes, probabilities, and what was fitted for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.attribution import Attribution
from mipin_ref.explain.explainer import Explainer
from mipin_ref.explain.feature_names import names_for
from mipin_ref.explain.fits import Inverses
from mipin_ref.explain.said import stored_tokens
from mipin_ref.explain.shown import (
    header_of,
    joined_maps,
    maps_of,
    shown_kind,
    shown_samples,
    stored_arrays,
    told_of_run,
)
from mipin_ref.layers import HostArray
from mipin_ref.report.explained import ExplainedFolder
from mipin_ref.report.notebook import explained_html

BATCH = 64
"""Samples that are written at a time."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Samples explained for one class each, and, where several were asked for, for others of theirs.

    result: the Attribution; maps: [N, H, W] signed contributions at the images' size, of signals and tokens [N, T], of
    table rows [N, F]; x: the samples as the network takes them; others: the same samples for their next classes, of
    `top=5` four, the second first, and so where all five are cheap; told: lines on guesses and choices, in order.
    """

    explainer: Explainer = field(repr=False)
    x: HostArray = field(repr=False)
    result: Attribution
    maps: HostArray
    rank: int = 0
    others: tuple[Explanation, ...] = ()
    told: tuple[str, ...] = ()
    model: str = "the model"

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """[N] the index of each sample's class; of outputs with more axes [N, axes] indices."""
        net = self.explainer.net
        return np.array([net.target(int(c)) for c in self.explainer.targets[:, self.rank]], np.int64)

    @property
    def names(self) -> list[str]:
        """[N] the name of each sample's class."""
        return [self.explainer.names.of(int(c)) for c in self.explainer.targets[:, self.rank]]

    @property
    def files(self) -> list[str]:
        """[N] the names of the samples: of their files, or numbers."""
        return list(self.explainer.files)

    @property
    def left_out(self) -> list[str]:
        """Why some of the images could not be read, a sentence each."""
        return list(self.explainer.failures)

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """[N] the probability of each sample's class; NaN of a network that has none."""
        shares, rows = self.explainer.shares, np.arange(len(self))
        if shares is None:
            return np.full(len(self), np.nan)
        return np.asarray(shares[rows, self.explainer.targets[:, self.rank]], np.float64)

    @property
    def logits(self) -> HostArray:
        """[N, C] all logits."""
        return self.explainer.scores

    @property
    def inverse(self) -> Inverses | None:
        """What MIP-IN was fitted to, by class, with the preprocessing it belongs to; None of other methods."""
        return self.explainer.inverses

    @property
    def tensor(self) -> str:
        """The name of the explained tensor."""
        return self.explainer.tensor

    def __len__(self) -> int:
        return len(self.maps)

    def __repr__(self) -> str:
        explainer = self.explainer
        count = f"{len(self)} {explainer.inputs.noun}{'s' if len(self) != 1 else ''}"
        names = ", ".join(f"{name!r} {explainer.score(row, self.rank)}" for row, name in enumerate(self.names[:3]))
        more = ", ..." if len(self) > 3 else ""
        return f"Explanation({count} by {explainer.method} at {explainer.tensor!r}: {names}{more})"

    def _repr_html_(self) -> str | None:
        """What a notebook shows: of images the first maps, of anything else the Attribution."""
        net, explainer = self.explainer.net, self.explainer
        if self.maps.ndim != 3 or net.input_size is None:
            return self.result._repr_html_()
        scores = [explainer.score(row, self.rank) for row in range(len(self))]
        told = zip(self.files, self.names, scores, strict=True)
        titles = [f"{file}: {name}, {score}" for file, name, score in told]
        return explained_html(repr(self), self.x, net.channel_axis(net.input), self.maps, titles)

    def save(self, path: str | PathLike[str], *, feature_names: Sequence[str] | None = None) -> list[Path]:
        """Write a folder: a picture a sample, `index.html`, `attribution.npz`; returns the paths.

        feature_names: of table rows, by default those that the model's metadata tell.

        An earlier set in the folder is replaced as a whole. Raises InvalidData where it cannot be written, or files are
        in the way that are no such set.
        """
        explainer = self.explainer
        ranks = [self, *self.others]
        size = None if explainer.inputs.picture is None else list(explainer.inputs.picture)
        header = header_of(explainer, {"kind": "contribution", "positive": False, "size": size})
        told = told_of_run(explainer, self.model)
        feature_names = names_for(explainer.net, explainer.tensor, feature_names)
        with ExplainedFolder(
            path, told, kind=shown_kind(explainer, self.maps), feature_names=feature_names, header=header
        ) as folder:
            for start in range(0, len(self), BATCH):
                rows = slice(start, start + BATCH)
                results = [one.result[rows] for one in ranks]
                maps = [one.maps[rows] for one in ranks]
                stored = slice(explainer.stored)
                arrays = stored_arrays(explainer, results[stored], start) | {"map": joined_maps(maps[stored])}
                arrays |= stored_tokens(explainer, self.x[rows], start)
                folder.add(shown_samples(explainer, self.x[rows], results, maps, start), arrays)
            return folder.finish()


def explanation_of(explainer: Explainer, told: Sequence[str], model: str) -> Explanation:
    """All samples of an Explainer, in memory."""
    x, results = explainer.explain(0, len(explainer.rows))
    explainer.memory.forget()
    made: list[Any] = []
    for rank in reversed(range(len(results))):
        others = tuple(reversed(made)) if rank == 0 else ()
        res = results[rank]
        made.append(Explanation(explainer, x, res, maps_of(explainer, res), rank, others, tuple(told), model))
    first: Explanation = made[-1]
    return first
