"""Photographs in two halves: mosaics of either half are explained by what is fitted on crops of the other.

So every photograph is explained, and none by an inverse that has seen it (cross-fitting).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.photographs import (
    GRID,
    Floats,
    Photograph,
    calibration,
    photographs,
    placed_mosaics,
    recognised_by,
    square_side,
)


@dataclass(frozen=True, eq=False)
class Mosaics:
    """Mosaics x [N, 3, S, S]. y: the class that each is explained for [N]; cells: where its photograph lies [N], row by
    row; asked: which photograph that is, by its place in the folder [N]; held: the photographs in a mosaic's cells
    [N, 4].
    """

    x: Floats
    y: NDArray[np.int64]
    cells: NDArray[np.int64]
    asked: NDArray[np.int64]
    held: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Half(Mosaics):
    """Mosaics of one half of the photographs, and crops of the other. fitted_on: [M, 3, S, S]; seen: the photographs
    that these are of, by their places.
    """

    fitted_on: Floats
    seen: NDArray[np.int64]


def mosaics_of(
    shown: Sequence[Photograph],
    places: Mapping[str, int],
    *,
    mosaics: int,
    seed: int,
    side: int,
    targets: Sequence[int] = (),
) -> Mosaics:
    """Mosaics of what is shown, so many for each of the targets, which are all its classes where none is given.

    places: in the folder, by name. Raises ValueError where too few classes are shown.
    """
    targets = targets or list(dict.fromkeys(one.label for one in shown))
    x, chosen = placed_mosaics(shown, mosaics * len(targets), seed, side, GRID, targets)
    labels = np.array([one.label for one in shown])[chosen]
    y = np.array(targets)[np.arange(len(x)) % len(targets)]
    cells = np.argmax(labels == y[:, None], axis=1)
    held = np.array([places[one.name] for one in shown])[chosen]
    return Mosaics(x, y, cells, held[np.arange(len(x)), cells], held)


def halves(
    images: Sequence[Photograph],
    right: Sequence[Photograph],
    *,
    mosaics: int,
    crops: int,
    in_mosaics: float,
    classes: int | None,
    seed: int,
    side: int,
) -> list[Half]:
    """Both halves: every other photograph in order of name, the first of them with the first one.

    right: those that the network recognises, of which mosaics are made, all explained in turn; mosaics: for each class
    that is explained; crops: to fit on, a fraction in_mosaics of them in mosaics of their own; classes: that are
    explained of a half, its first ones, None for all; side: of the network's input.
    Raises ValueError where a half has too few classes.
    """
    known = {one.name: place for place, one in enumerate(images)}
    made = []
    for turn in (0, 1):
        own, other = images[turn::2], images[1 - turn :: 2]
        names = {one.name for one in own}
        shown = [one for one in right if one.name in names]
        targets = list(dict.fromkeys(one.label for one in shown))[:classes]
        if classes is not None and len(targets) < classes:
            raise ValueError(
                f"the network recognises photographs of {len(targets)} classes in a half, not of {classes}"
            )
        of = mosaics_of(shown, known, mosaics=mosaics, seed=seed, side=side, targets=targets)
        fitted_on, _ = calibration(other, crops, seed, side, in_mosaics)
        seen = np.array([known[one.name] for one in other])
        made.append(Half(of.x, of.y, of.cells, of.asked, of.held, fitted_on, seen))
    return made


class Folder:
    """The photographs that a network is asked about, as options of a command say. images: all, in order of name; right:
    those that the network recognises. Raises ValueError or OSError where network, folder and options do not fit.
    """

    def __init__(self, net: mr.Network, options: argparse.Namespace) -> None:
        self._options, self._side = options, square_side(net, options.model)
        self.images = photographs(options.photographs)
        self.right = recognised_by(options.model, net, self.images)

    def halves(self) -> list[Half]:
        """Both halves. Raises ValueError as `halves` does."""
        options = self._options
        return halves(
            self.images,
            self.right,
            mosaics=options.mosaics,
            crops=options.calibration,
            in_mosaics=options.calibration_mosaics,
            classes=options.classes,
            seed=options.seed,
            side=self._side,
        )

    def crops(self) -> Floats:
        """As many images to fit on as a half has, of all photographs [M, 3, S, S]."""
        options = self._options
        how = (options.calibration, options.seed, self._side, options.calibration_mosaics)
        return calibration(self.images, *how)[0]
