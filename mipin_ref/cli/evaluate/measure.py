"""What the command asks of a metric, and where each one is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from mipin_ref.cli.evaluate.argument import Argument

if TYPE_CHECKING:
    from mipin_ref.cli.evaluate.study import Study
    from mipin_ref.methods.method import Method

Row = Mapping[str, Any]
"""What there is to say of a method, ready for JSON but for NaN."""


class Measure(ABC):
    """A metric of a study. Raises InvalidData where study and options do not fit, before any method runs.

    arguments: those it takes beside what all take; needs_layers: whether it goes through the layers of the network, so
    that a file that is run as it is cannot be measured; title: what is measured, of what, in a line; settings: what
    else the numbers depend on, for JSON.
    """

    arguments: ClassVar[tuple[Argument, ...]]
    needs_layers: ClassVar[bool] = False
    title: str
    settings: Mapping[str, Any]

    @classmethod
    def takes(cls, method: type[Method]) -> bool:
        """Whether it can be measured of a method, by what the method states."""
        return True

    def __init_subclass__(cls) -> None:
        if "arguments" not in vars(cls):
            raise TypeError(f"{cls.__name__} does not declare its arguments")

    @abstractmethod
    def __init__(self, study: Study) -> None: ...

    @abstractmethod
    def row(self, name: str) -> Row | None:
        """The row of one method; None where it fails, of which the panel then tells the reason."""

    @abstractmethod
    def table(self, rows: Mapping[str, Row]) -> str:
        """The rows by method for a person to read."""


MEASURES: dict[str, tuple[str, str]] = {
    "apc": ("ApcMeasure", "how far the logit moves when the source signal takes the input's place"),
    "box": ("BoxMeasure", "share of the highest-scored pixels that lie in a bounding box"),
    "sensitivity": ("SensitivityMeasure", "how far apart the maps of two classes lie"),
    "grid": ("GridMeasure", "whether maps point at the target's cell of a mosaic"),
    "randomization": ("RandomizationMeasure", "whether maps change as layers are redrawn from the top"),
    "deletion": ("DeletionMeasure", "deletion and insertion: area under the target's output"),
}
"""Metric -> its class, in the file of that name, and what it says. Only the one asked for is imported."""


def measure_of(metric: str) -> type[Measure]:
    """The class of a metric of MEASURES."""
    module = import_module(f"mipin_ref.cli.evaluate.{metric}")
    measure: type[Measure] = getattr(module, MEASURES[metric][0])
    return measure
