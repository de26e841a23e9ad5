"""What depends on the target: of one it stands as it is, of several it is stacked and chosen when the file runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mipin_ref.graph.document import Document
from mipin_ref.layers import HostArray

PIXELS, TARGET = "pixels", "target"
"""Inputs of an explainer: raw pixels in place of the model's input, and which target."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """places: of the targets in the tensor that they are entries of; place: the name of the
    position of the chosen one among them, and known: of a number that is 1 where the target is one of them, else not a
    number; both empty where there is one target.
    """

    document: Document
    places: tuple[int, ...]
    place: str = ""
    known: str = ""

    @classmethod
    def of(cls, document: Document, targets: tuple[int, ...], places: tuple[int, ...]) -> Chosen:
        """With an input `target` where there are several; targets: indices into the logits."""
        if len(targets) == 1:
            return cls(document, places)
        document.input(TARGET, np.dtype(np.int64), ())
        add = document.append
        given = add("Cast", [TARGET], document.fresh("target/number"), to=document.element)
        known = document.weight("target/known", np.array(targets, float))
        same = add("Equal", [known, given], document.fresh("target/same"))
        ones = add("Cast", [same], document.fresh("target/one-hot"), to=document.element)
        place = add("ArgMax", [ones], document.fresh("target/place"), axis=0, keepdims=0)
        any_ = add("ReduceMax", [ones], document.fresh("target/any"), keepdims=0)
        # 1 / 1, or 0 / 0 for a target that is none of them.
        return cls(document, places, place, add("Div", [any_, any_], document.fresh("target/valid")))

    def weight(self, role: str, values: Sequence[HostArray]) -> str:
        """An array of the target, of the way back; stored once where it is the same for all."""
        document, first = self.document, values[0]
        if all(one is first or np.array_equal(one, first) for one in values[1:]):
            return document.inverse_weight(role, first)
        return document.picked(role, values, self.place)

    def logit(self, logits: str) -> str:
        """The logit [n] of the target, of logits [n, C]: the output of its name."""
        document = self.document
        index = self._index()
        if not self.place:
            return document.append("Gather", [logits, index], "logit", axis=1)
        taken = document.append("Gather", [logits, index], document.fresh("target/logit"), axis=1)
        return document.append("Mul", [taken, self.known], "logit")

    def one_hot(self, column: str, classes: int) -> str:
        """The logit [n, 1] in its place, zeros elsewhere [n, C]."""
        document = self.document
        rows = [np.eye(1, classes, place) for place in self.places]
        return document.append("Mul", [column, self.weight("seed/place", rows)], document.fresh("seed/one-hot"))

    def told(self, values: str, output: str) -> str:
        """Values as they are, or not a number where the target is none."""
        if not self.place:
            return self.document.append("Identity", [values], output)
        return self.document.append("Mul", [values, self.known], output)

    def _index(self) -> str:
        document = self.document
        if not self.place:
            return document.constant("target/index", np.array(self.places[0], np.int64))
        indices = document.constant("target/indices", np.array(self.places, np.int64))
        return document.append("Gather", [indices, self.place], document.fresh("target/index"), axis=0)
