"""The table of the grid pointing game by depth: what is scored at which tensor, and its rows in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.photographs import GRID, Floats

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
        by_tensor = inv.attribute(x[rows], at=list(tensors))
        for place, kind in parts:
            maps = mr.saliency(by_tensor[place.tensor], kind=kind, positive=True, size=size if place.resized else None)
            parts[place, kind].append(mr.metrics.grid_pointing_game(maps, cells[rows], GRID))
    return Explained(
        {key: np.concatenate([game.scores for game in games]) for key, games in parts.items()},
        {row.tensor: row.r2 for row in inv.report},
        {key: sum(game.empty for game in games) for key, games in parts.items()},
    )


def table(net: mr.Network, by_class: dict[int, Explained]) -> list[Row]:
    """The rows of the classes explained so far, from the top to the pixels."""
    rows = []
    for place in dict.fromkeys(place for one in by_class.values() for place, _ in one.scores):
        scores = {kind: {c: one.scores[place, kind] for c, one in by_class.items()} for kind in KINDS}
        joined = {kind: np.concatenate(list(of.values())) for kind, of in scores.items()}
        r2 = [one.r2[place.tensor] for one in by_class.values() if place.tensor in one.r2]
        rows.append(
            Row(
                place.tensor,
                net.input_shape if place.resized else net.shapes[place.tensor],
                place.resized,
                float(np.mean(r2)) if r2 else None,
                {kind: float(np.mean(values)) for kind, values in joined.items()},
                {kind: float(np.std(values) / np.sqrt(len(values))) for kind, values in joined.items()},
                {kind: sum(one.empty[place, kind] for one in by_class.values()) for kind in KINDS},
                {kind: {c: float(np.mean(values)) for c, values in of.items()} for kind, of in scores.items()},
            )
        )
    return rows


def named(row: Row) -> str:
    """A row's tensor, and whether its maps were resized."""
    return row.tensor + (", resized to the input" if row.resized else "")


def figures(row: Row) -> dict[str, Any]:
    """A row as plain numbers."""
    of_kinds = {
        f"{what}_{kind}": by_kind[kind]
        for what, by_kind in (("mean", row.means), ("error", row.errors), ("empty", row.empty))
        for kind in KINDS
    }
    shape = "×".join(map(str, row.shape[-2:] if row.resized else row.shape))
    return {"tensor": named(row), "shape": shape, "resized": row.resized, "r2": row.r2, **of_kinds}


def values(rows: Sequence[Row]) -> dict[str, Any]:
    """Mean scores of A·X: at the last map, at the lowest tensor, where they are highest and lowest, and of how many
    tensors they are no more than .05 below the last map's.
    """
    kind = KINDS[0]
    own = [row for row in rows if not row.resized]
    highest, lowest = (pick(own, key=lambda row: row.means[kind]) for pick in (max, min))
    return {
        "tensors": len(own),
        "last": own[0].means[kind],
        "last_error": own[0].errors[kind],
        "end": own[-1].means[kind],
        "end_error": own[-1].errors[kind],
        "highest": highest.means[kind],
        "highest_tensor": highest.tensor,
        "lowest": lowest.means[kind],
        "lowest_tensor": lowest.tensor,
        "kept": sum(row.means[kind] >= own[0].means[kind] - 0.05 for row in own),
    }


def as_markdown(rows: Sequence[Row]) -> str:
    lines = ["| tensor | shape | R² | GPG contribution | GPG attribution |", "|---|---|---|---|---|"]
    for row in rows:
        shape = "×".join(map(str, row.shape[-2:] if row.resized else row.shape))
        r2 = "" if row.r2 is None or row.resized else f"{row.r2:.3f}"
        cells = [
            f"{row.means[kind]:.3f} ± {row.errors[kind]:.3f}" + (f" ({row.empty[kind]} empty)" * (row.empty[kind] > 0))
            for kind in KINDS
        ]
        lines.append(f"| {named(row)} | {shape} | {r2} | {' | '.join(cells)} |")
    return "\n".join(lines)
