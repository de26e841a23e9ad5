"""Coalitions of players, and the Shapley values that fit their worth: the arithmetic of Kernel SHAP."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, combinations
from math import comb

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from mipin_ref.layers import HostArray

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Coalitions:
    """members: [m, players] who is in; weights: [m] of each in the fit, the Shapley kernel's where all there are are
    among them.
    """

    members: Booleans
    weights: HostArray


def coalitions(players: int, budget: int, seed: int) -> Coalitions:
    """Coalitions of some and not all of the players, about `budget` of them: all where they are no more.

    They come in pairs with those who are left out. From the smallest up, and with them the largest, all of a size are
    taken while the budget has room for them; of the sizes in between coalitions are drawn by the kernel's weights
    (Lundberg and Lee, 2017, Theorem 2; Covert and Lee, Improving KernelSHAP, 2021, for the pairs). Those of one player,
    and of all but one, are always among them, so that the fit has one solution.
    """
    sizes = list(range(1, players // 2 + 1))
    # The kernel (M - 1) / (C(M, s) s (M - s)), summed over all coalitions of a size and of its counterpart.
    weight = {s: (players - 1) / (s * (players - s)) * (1 if 2 * s == players else 2) for s in sizes}
    number = {s: comb(players, s) * (1 if 2 * s == players else 2) for s in sizes}
    members: list[Booleans] = []
    weights: list[HostArray] = []
    left, total = budget, sum(weight.values())
    while sizes:
        size = sizes[0]
        if (
            size > 1
            and left * weight[size] < number[size] * sum(weight[s] for s in sizes)
            and left < sum(number[s] for s in sizes)
        ):
            break
        sizes.pop(0)
        some = _all(players, size)
        members.append(some)
        weights.append(np.full(len(some), weight[size] / number[size]))
        left -= len(some)
    pairs = left // 2
    if sizes and pairs > 0:
        some = _drawn(players, sizes, np.array([weight[s] for s in sizes]), pairs, seed)
        members.append(some)
        weights.append(np.full(len(some), sum(weight[s] for s in sizes) / len(some)))
    if not members:
        return Coalitions(np.zeros((0, players), np.bool_), np.zeros(0))
    return Coalitions(np.concatenate(members), np.concatenate(weights) / total)


class ShapleyFit:
    """Shapley values as weighted least squares, under the constraint that they add up, which the last player's value
    is written by (Lundberg and Lee, 2017, Eq. 8 and Theorem 2). The equations are factorised once.
    """

    def __init__(self, made: Coalitions) -> None:
        self._root = np.sqrt(made.weights)
        self._last = made.members[:, -1:].astype(np.float64)
        self._orthogonal, self._triangle = np.linalg.qr((made.members[:, :-1] - self._last) * self._root[:, None])

    def __call__(self, worth: HostArray, whole: float, none: float) -> HostArray:
        """The values [players] that fit the worth [m] of the coalitions best and add up to `whole` less `none`.

        With all coalitions they are the Shapley values.
        """
        gained = whole - none
        if not len(worth):  # a single player
            return np.array([gained])
        wanted = (worth - none - self._last[:, 0] * gained) * self._root
        found = solve_triangular(self._triangle, self._orthogonal.T @ wanted)
        return np.append(found, gained - found.sum())


def _all(players: int, size: int) -> Booleans:
    """All coalitions of a size, and those who are left out of them."""
    count = comb(players, size)
    at = np.fromiter(chain.from_iterable(combinations(range(players), size)), np.int64, count * size)
    made = np.zeros((count, players), np.bool_)
    made[np.repeat(np.arange(count), size), at] = True
    return made if 2 * size == players else np.concatenate([made, ~made])


def _drawn(players: int, sizes: list[int], weight: HostArray, pairs: int, seed: int) -> Booleans:
    """Pairs of coalitions: of a size drawn by its weight, of players drawn without one."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(np.array(sizes), size=pairs, p=weight / weight.sum())
    # The players of the smallest random numbers are in.
    rank = np.argsort(np.argsort(rng.random((pairs, players)), axis=1), axis=1)
    made: Booleans = rank < drawn[:, None]
    return np.concatenate([made, ~made])
