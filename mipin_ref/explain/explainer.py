"""All that explains samples of one network, settled: what is read, for which classes, by what, at which tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.data import Samples
from mipin_ref.errors import InvalidData
from mipin_ref.explain.class_names import ClassNames
from mipin_ref.explain.fits import Inverses
from mipin_ref.explain.inputs import Inputs
from mipin_ref.explain.predict import Net
from mipin_ref.explain.targets import Indices
from mipin_ref.explain.texts import Texts
from mipin_ref.graph.remembered import Remembered, remembering
from mipin_ref.layers import HostArray

Run = Callable[[HostArray, Indices], Attribution]
"""Explains samples [n, ...], each for the class of an index into the logits [n]."""


@dataclass(frozen=True, eq=False)
class Explainer:
    """What `settle` settled.

    data: the samples as the network's input; rows: those that can be read; failures: why the others cannot;
    targets: [n, k] indices into the logits, of each of `rows`, the first one first; stored: of so many of them, those
    asked for, the arrays are stored, the others stand on the page alone; scores: [n, C] logits;
    shares: [n, C] probabilities, None where the network has none; files: names of the samples [n];
    tensor: what is explained; shows_progress: whether `run` shows a bar itself; inverses: of MIP-IN;
    memory: what the network computed of them, the same for all of their classes;
    lines: what a person should know first, the guesses;
    facts: what else there is to tell, (what, value); texts: what is known of tokens.
    """

    net: Net
    method: str
    inputs: Inputs
    data: Samples
    rows: Sequence[int]
    failures: Sequence[str]
    targets: Indices
    stored: int
    scores: HostArray
    shares: HostArray | None
    files: Sequence[str]
    names: ClassNames
    tensor: str
    inverses: Inverses | None
    lines: Sequence[str]
    facts: Sequence[tuple[str, str]]
    header: Mapping[str, Any]
    run: Run
    memory: Remembered
    shows_progress: bool
    texts: Texts | None = None

    def explain(self, start: int, stop: int) -> tuple[HostArray, list[Attribution]]:
        """Samples `start` to `stop` of `rows`, and their attributions, one for each of the k classes."""
        x = self.data[np.asarray(self.rows[start:stop], np.int64)]
        try:
            with remembering(self.net, self.memory):
                return x, [self.run(x, self.targets[start:stop, rank]) for rank in range(self.targets.shape[1])]
        except InvalidData as error:
            # Samples are counted within the batch.
            raise InvalidData(f"counted from image {start}: {error}" if start else str(error)) from error

    def target(self, row: int, rank: int = 0) -> int | tuple[int, ...]:
        """The target of a sample as people name it."""
        return self.net.target(int(self.targets[row, rank]))

    def score(self, row: int, rank: int = 0) -> str:
        """What the network gives the class, as a text: its probability, or the logit where there is none."""
        c = int(self.targets[row, rank])
        if self.shares is None or not np.isfinite(self.shares[row, c]):
            return f"logit {self.scores[row, c]:.3g}"
        share = float(self.shares[row, c])
        return f"{share:.1%}" if share >= 0.001 else "<0.1%"
