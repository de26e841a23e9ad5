"""What each kind of sample answers: how it is checked, drawn in the page, and drawn in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipin_ref.report.explained.scale import LEGEND, Scale
from mipin_ref.report.explained.told import ShownSample, Told

Marks = Mapping[str, str]
"""Keys and values that a file carries, by which its folder's next run knows it."""


@dataclass(frozen=True)
class Drawn:
    """What the page shows of a sample: pictures in cells, or one piece of markup a class."""

    cells: Any = None
    figures: Sequence[str] = ()

    @property
    def bytes(self) -> int:
        """About what it takes in the page."""
        held = sum(map(len, self.figures))
        if self.cells is not None:
            pictures = [self.cells.picture, *(one.png for one in self.cells.maps), *filter(None, self.cells.sources)]
            held += sum(map(len, pictures)) * 4 // 3
        return held


class Kind(ABC):
    """noun: what one sample is called; suffix: of the file of one sample; legend: what colours mean, for the page."""

    noun: str
    suffix: str
    legend: str = LEGEND

    @abstractmethod
    def check(self, sample: ShownSample) -> None:
        """Raises InvalidData, naming the sample, where value or maps are not of this kind."""

    @abstractmethod
    def scale(self, sample: ShownSample) -> Scale:
        """The scale that all classes of the sample share."""

    def scale_told(self, scale: Scale) -> str:
        """The scale in words."""
        return str(scale)

    @abstractmethod
    def row(self, sample: ShownSample, scale: Scale) -> Drawn:
        """What the page shows of it."""

    @abstractmethod
    def file(self, sample: ShownSample, told: Told, scale: Scale, marks: Marks) -> bytes:
        """The file of the sample: of its first class, with the class, its score and the sample's name."""
