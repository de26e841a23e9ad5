"""Sentences with planted evidence: which tokens decide the class is known, all others are noise.

Each class has words of its own. A sentence holds two of its class, one of another class, and one of that other class
behind a negator, which takes it away; the rest are distractors, some behind a negator too, so that a negator alone says
nothing. Where in the sentence anything stands is drawn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CLASS_NAMES = ("sea", "wood", "town")
EVIDENCE = (
    ("wave", "harbour", "gull", "tide"),
    ("fern", "oak", "moss", "deer"),
    ("tram", "square", "market", "bridge"),
)
"""Words by class."""
NEGATORS = ("not", "never")
START, UNKNOWN = "[CLS]", "[UNK]"
DISTRACTORS = tuple(f"word{number}" for number in range(40))
VOCABULARY = (START, UNKNOWN, *NEGATORS, *(word for words in EVIDENCE for word in words), *DISTRACTORS)
TOKENS = 16
"""Of a sentence, START included."""
NOISE = 0.1
"""Share of distractors that are unknown words: so the network knows what a deleted word is replaced by."""

ID = {word: number for number, word in enumerate(VOCABULARY)}


class Sentences(NamedTuple):
    """ids: [N, TOKENS]; classes: [N]; evidence: [N, TOKENS] whether a token speaks for the class; contrary: the same
    for the other class; negated: what is behind a negator, and negators themselves.
    """

    ids: NDArray[np.int64]
    classes: NDArray[np.int64]
    evidence: NDArray[np.bool_]
    contrary: NDArray[np.bool_]
    negated: NDArray[np.bool_]


def sentences(count: int, seed: int) -> Sentences:
    """Make so many sentences, of all classes alike often."""
    rng = np.random.default_rng(seed)
    made = Sentences(
        np.zeros((count, TOKENS), np.int64),
        rng.integers(0, len(CLASS_NAMES), count),
        *(np.zeros((count, TOKENS), np.bool_) for _ in range(3)),
    )
    for row in range(count):
        _fill(rng, row, made)
    return made


def _fill(rng: np.random.Generator, row: int, made: Sentences) -> None:
    own = int(made.classes[row])
    other = int((own + rng.integers(1, len(CLASS_NAMES))) % len(CLASS_NAMES))
    for_it = [(word, made.evidence) for word in rng.choice(EVIDENCE[own], 2, replace=False)]
    against = rng.choice(EVIDENCE[other], 2, replace=False)
    parts: list[list[tuple[str, Any]]] = [[one] for one in for_it]
    parts.append([(against[0], made.contrary)])
    parts.append([(rng.choice(NEGATORS), made.negated), (against[1], made.negated)])
    parts.append([(rng.choice(NEGATORS), made.negated), (_distractor(rng), made.negated)])
    parts += [[(_distractor(rng), None)] for _ in range(TOKENS - 1 - sum(map(len, parts)))]
    rng.shuffle(parts)
    words = [(START, None), *(one for part in parts for one in part)]
    for place, (word, flags) in enumerate(words):
        made.ids[row, place] = ID[str(word)]
        if flags is not None:
            flags[row, place] = True


def _distractor(rng: np.random.Generator) -> str:
    return UNKNOWN if rng.random() < NOISE else str(rng.choice(DISTRACTORS))
