"""What is asked of a stage, and what a stage may ask of a case to explain a deviation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from mipin_ref.golden.material import Material
from mipin_ref.golden.rounding import Rounding
from mipin_ref.golden.values import Golden
from mipin_ref.graph.network import Network
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.layers import HostArray, Layer

Pairs = Iterator[tuple[str, HostArray]]
"""Names in a candidate, and their arrays."""
Explained = Iterator[tuple[str, Callable[[], HostArray]]]
"""A cause, and what the golden values are by it."""


def what(name: str) -> str:
    """The second part of a candidate's name: what of the tensor it is."""
    return name.split("/")[1]


@dataclass(frozen=True, eq=False)
class Deviation:
    """name: in the candidate; tensor: the network's, that it is about; golden, value: the two arrays in float64."""

    name: str
    tensor: str
    golden: HostArray
    value: HostArray

    @property
    def what(self) -> str:
        return what(self.name)


class Evidence(Protocol):
    """network: None where the ONNX file is not there, and with it all but `value`; golden: read from the case."""

    @property
    def network(self) -> Network | None: ...

    @property
    def golden(self) -> Golden: ...

    def value(self, tensor: str) -> HostArray:
        """The golden value of a tensor of the network."""

    def layer(self, output: str) -> Layer: ...


class Stage(ABC):
    """One stage of a case: what it compares, where that comes from, how far it may be off, and why it may be.

    name: the first part of a candidate's names; given: what to start from, in words; meanings: what it compares, the
    second part of the names, in words; exact: those of them that are integers and must be equal; optional: those that a
    case leaves out where they are too large.
    """

    name: ClassVar[str]
    given: ClassVar[str]
    meanings: ClassVar[Mapping[str, str]]
    exact: ClassVar[frozenset[str]]
    optional: ClassVar[frozenset[str]]

    def __init_subclass__(cls) -> None:
        for fact in ("name", "given", "meanings", "exact", "optional"):
            if fact not in vars(cls):
                raise TypeError(f"stage {cls.__name__} does not say its {fact}")

    def names(self, name: str) -> bool:
        """Whether a name in a candidate is one of this stage."""
        return name.split("/")[0] == self.name

    @abstractmethod
    def compared(self, golden: Golden) -> Pairs:
        """The golden values by the name that a candidate gives them, from signals and weights; `named` is not read."""

    @abstractmethod
    def tensor(self, name: str, material: Material) -> str:
        """The network's tensor that one of its names is about."""

    @abstractmethod
    def axes(self, name: str, material: Material, rank: int) -> list[str]:
        """The names of the axes of an array of that rank."""

    @abstractmethod
    def perturbed(self, golden: Golden, rounding: Rounding) -> Pairs:
        """The stage computed with everything rounded that it starts from: how far it moves is its tolerance."""

    @abstractmethod
    def remade(self, golden: Golden, fresh: Material, inverse: Inverse) -> Pairs:
        """The stage as the engine computes it from the golden values of the stages before.

        fresh: recorded anew; inverse: fitted anew.
        """

    @abstractmethod
    def causes(self, deviation: Deviation, evidence: Evidence) -> Explained:
        """The known mistakes, in the order in which they are tried: of equally good ones the first is named."""


def channel_axis(material: Material, tensor: str) -> str:
    return "feature" if len(material.net.shapes[tensor]) == 1 else "channel"


def sample_axes(material: Material, tensor: str, rank: int) -> list[str]:
    """The axes of a value of the tensor [n, *shape], or of so many of them."""
    channels, named = material.axis(tensor), channel_axis(material, tensor)
    return ["sample", *(named if i == channels else f"axis {i}" for i in range(1, rank))][:rank]
