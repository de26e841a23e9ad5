"""What is measured of the scores of tokens whose evidence is known: where it ranks, and what goes with the best tokens.

The first token, and what is behind a negator or is one, take no part in ranks: what they should score is not known. Of
deletions the first token alone is left out, as it stands for no word. Both hold for all methods alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from paper.deletions import fallen
from training.planted import ID, UNKNOWN, Sentences

TOP = 2
"""Tokens of evidence that a sentence holds."""
DELETED = (1, 2, 4, 8)
"""How many tokens become unknown words, one after the other."""


class Ranks(NamedTuple):
    """Of every sentence [N]: hits, the share of its evidence among the TOP tokens; area, the chance that a token of
    evidence stands above one of noise; rank, the mean over its evidence of 1 / (1 + tokens of noise above it), the
    reciprocal rank with the other token of evidence left out (filtered, as of Bordes et al. 2013, section 4.2).
    """

    hits: NDArray[np.float64]
    area: NDArray[np.float64]
    rank: NDArray[np.float64]


def ranked(scores: NDArray[Any], data: Sentences) -> Ranks:
    """The ranks by scores [N, T]. What is level counts half in area and rank, and in hits the earlier token wins."""
    noise = ~(data.evidence | data.negated)
    noise[:, 0] = False
    made = Ranks(*(np.zeros(len(scores)) for _ in Ranks._fields))
    for row, one in enumerate(scores.astype(np.float64)):
        good, bad = one[data.evidence[row], None], one[noise[row]]
        above = np.sum((bad > good) + 0.5 * (bad == good), axis=1)
        made.area[row] = 1 - above.mean() / len(bad)
        made.rank[row] = np.mean(1 / (1 + above))
        known = np.where(noise[row] | data.evidence[row], one, -np.inf)
        made.hits[row] = data.evidence[row, np.argsort(-known, kind="stable")[:TOP]].mean()
    return made


def deleted(scores: NDArray[Any], ids: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The sentences with the `count` highest tokens, but for the first token, as unknown words."""
    top = np.argsort(-scores[:, 1:], axis=1, kind="stable")[:, :count] + 1
    made = ids.copy()
    np.put_along_axis(made, top, ID[UNKNOWN], axis=1)
    return made


def drops(
    net: mr.Network, scores: NDArray[Any], ids: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How far the logits of targets [N] fall once so many tokens are deleted [N, len(DELETED)]."""
    return fallen(net, ids, (deleted(scores, ids, count) for count in DELETED), targets)


def measured(net: mr.Network, scores: NDArray[Any], data: Sentences) -> dict[str, NDArray[np.float64]]:
    """Everything by name, of every sentence [N]: the ranks, each drop, and their mean."""
    lower = drops(net, scores, data.ids, data.classes)
    each = {f"drop_{count}": lower[:, place] for place, count in enumerate(DELETED)}
    return {**ranked(scores, data)._asdict(), "drop": lower.mean(axis=1), **each}
