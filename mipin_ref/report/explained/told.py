"""What a folder of explanations is given: samples, classes, and words about the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy.typing as npt

Array = npt.NDArray[Any]
KindName = Literal["image", "signal", "table", "tokens"]


@dataclass(frozen=True, eq=False)
class ShownClass:
    """One class of a sample, and what speaks for it.

    name: of the class; target: its index, or a tuple of them where outputs have more axes; score: what the network
    gives it, as text, such as a probability; logit: y_c; map: signed contributions, oriented: of images [H, W], at the
    size of the explained tensor or of the image; of signals and tokens [T]; of table rows [F];
    source: the source signal as the sample's value is, None where there is none.
    """

    name: str
    target: int | tuple[int, ...]
    score: str
    logit: float
    map: Array
    source: Array | None = None


@dataclass(frozen=True, eq=False)
class ShownSample:
    """name: of its file, say, of any script and not unique; value: as people see it: of images the part that the maps
    cover, [H, W, C] uint8; else the numbers, of signals [T] or [channels, T], of table rows [F], of tokens any;
    classes: the first is the one explained first; tokens: [T] as text, for the kind "tokens"; count: of so many of the
    classes, those asked for, picture and names in the arrays are, None for all; joints: [T] what the text has in front
    of each token, None for a space.
    """

    name: str
    value: Array
    classes: Sequence[ShownClass]
    tokens: Sequence[str] | None = None
    count: int | None = None
    joints: Sequence[str] | None = None

    @property
    def asked(self) -> ShownSample:
        """The sample with the classes asked for alone."""
        return replace(self, classes=self.classes[: self.count])


@dataclass(frozen=True)
class Told:
    """Words at the head of the page. model: its name; method: its name; tensor: what is explained; lines: first of all,
    such as that something was guessed; facts: (what, value).
    """

    model: str
    method: str
    tensor: str
    lines: Sequence[str] = field(default=())
    facts: Sequence[tuple[str, str]] = field(default=())
