"""One intercept a channel over problems that have no other regressor in common.

With w the weights of x on a problem's regressors Z, and u those of a constant one, the weights of x - b are w - b u.
What the intercept is follows from the one equation that is left, Σ(x - b - Z(w - b u)) = 0 over all rows: block
elimination (Golub and Van Loan, Matrix Computations, 4.3.6), so that the solution is that of all problems together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HostArray = npt.NDArray[np.float64]
"""Small: a number a group, channel or regressor."""

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Piece:
    """One problem, fitted without an intercept: some of each channel's locations, as `parts` of the same regressors.

    weights: w [groups, f, channels, parts]; one: u [groups, f]; sums: Σz [groups, f]; rows: of each part;
    squared_error: of x.
    """

    weights: HostArray
    one: HostArray
    sums: HostArray
    rows: int
    squared_error: float

    @property
    def parts(self) -> int:
        return int(self.weights.shape[3])

    def given(self) -> HostArray:
        """What the weights give over all rows [groups, channels]."""
        given: HostArray = np.einsum("gf,gfcp->gc", self.sums, self.weights)
        return given

    def along(self) -> HostArray:
        """w'u [groups, channels]."""
        along: HostArray = np.einsum("gf,gfcp->gc", self.one, self.weights)
        return along

    def left(self, ridge: float) -> HostArray:
        """Σ(1 - Zu)² of a part [groups]."""
        left: HostArray = self.rows - np.sum(self.sums * self.one, axis=1) - ridge * np.sum(self.one**2, axis=1)
        return left

    def shifted(self, intercept: HostArray) -> HostArray:
        """The weights of x less its intercept [groups, channels]: [groups, f, channels, parts]."""
        return self.weights - self.one[:, :, None, None] * intercept[:, None, :, None]


@dataclass(frozen=True, eq=False)
class Totals:
    """Of x: rows, and Σx over them [groups, channels]; of them where no regressor reaches: rows, Σx and Σx²."""

    rows: int
    x: HostArray
    unreached_rows: int
    unreached: HostArray
    unreached_squares: float


def joined(pieces: Sequence[Piece], totals: Totals, ridge: float) -> tuple[HostArray, float]:
    """The intercept [groups, channels] and the squared error of all rows.

    Where the constant is a sum of regressors, which it can only be without a ridge, it is that of least norm.
    """
    given = sum(piece.given() for piece in pieces)
    along = sum(piece.along() for piece in pieces)
    norm = _each(piece.parts * np.sum(piece.one**2, axis=1) for piece in pieces)
    left = totals.rows - _each(piece.parts * np.sum(piece.sums * piece.one, axis=1) for piece in pieces)
    features = max(piece.one.shape[1] for piece in pieces)
    told = left > features * EPS * totals.rows
    direct, least = (totals.x - given) / np.where(told, left, 1.0), along / np.where(norm > 0, norm, 1.0)
    intercept = np.where(told, direct, least)
    ones = _each(piece.parts * piece.left(ridge) for piece in pieces)
    cross = totals.x - totals.unreached - given - ridge * along
    error = sum(piece.squared_error for piece in pieces)
    error += float(np.sum(intercept * (intercept * ones - 2 * cross)))
    error += totals.unreached_squares
    error += float(np.sum(intercept * (totals.unreached_rows * intercept - 2 * totals.unreached)))
    return intercept, max(error, 0.0)


def _each(by_group: Iterable[HostArray]) -> HostArray:
    """The sum of arrays [groups], for every channel of a group alike [groups, 1]."""
    return np.sum(list(by_group), axis=0)[:, None]  # type: ignore[no-any-return]
