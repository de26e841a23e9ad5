"""What a layer is: the record of where it stands, and the questions that every kind of layer answers.

A kind is one class in this folder. It answers every question below, itself or through the groups of groups.py; what it
leaves open is an error where the class is defined, never a default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.display import OneLine
from mipin_ref.errors import UnsupportedModel
from mipin_ref.layers.writers import BackWriter as BackWriter
from mipin_ref.layers.writers import HostArray as HostArray
from mipin_ref.layers.writers import Shape as Shape
from mipin_ref.layers.writers import Switches as Switches
from mipin_ref.layers.writers import Writer as Writer

ELEMENT, TAP = 64, 32
"""Multiply-adds of a matrix product that take onnxruntime as long as an element that is read or written, and as one
location under a window of a pool."""
Inverse = Literal["shared", "own", "passes"]
Mask = Literal["nonzero", "positive", "all"]
Pick = npt.NDArray[np.int64] | None
"""The entries of an axis that are taken, in their order; None for all of them as they are."""
Flags = npt.NDArray[np.bool_]
"""A yes or no for each element of a sample."""
Cut = tuple[Sequence[int], ...]
"""A part of a sample: the entries along each axis, in any order and perhaps several times."""
States = Mapping[str, Array]
"""What was recorded of layers whose inverse depends on the sample, by the tensor that they make."""
Recording = tuple[Literal["value", "switches"], str]
"""What onnxruntime is asked for: the value of a tensor, or the winning places of the layer that makes it."""


def disjoint(cuts: Sequence[Cut]) -> bool:
    """Whether no two parts meet."""
    for i, a in enumerate(cuts):
        for b in cuts[:i]:
            if not any(_apart(one, other) for one, other in zip(a, b, strict=True)):
                return False
    return True


def _apart(one: Sequence[int], other: Sequence[int]) -> bool:
    if isinstance(one, range) and isinstance(other, range) and one.step == other.step == 1:
        return one.stop <= other.start or other.stop <= one.start
    return set(one).isdisjoint(other)


@dataclass(frozen=True, eq=False, kw_only=True)
class Wired(OneLine, ABC):
    """One step from tensors `inputs` to tensor `output`; shapes are per sample, the batch is always the first axis.

    kind: what it is called in tables, messages and manifests.
    """

    kind: ClassVar[str]
    name: str
    inputs: tuple[str, ...]
    output: str
    in_shapes: tuple[Shape, ...]
    out_shape: Shape

    @property
    def input(self) -> str:
        """The first input; of all layers but joins the only one."""
        return self.inputs[0]

    @property
    def in_shape(self) -> Shape:
        """The shape of `input`."""
        return self.in_shapes[0]

    @property
    def touched(self) -> int:
        """What reading all inputs and writing the output takes a sample, in the units of `work`."""
        return ELEMENT * (prod(self.out_shape) + sum(map(prod, self.in_shapes)))

    @property
    @abstractmethod
    def arrays(self) -> dict[str, HostArray]:
        """What was trained, by name."""

    @property
    @abstractmethod
    def work(self) -> int:
        """What running it takes a sample, in multiply-adds of a large matrix product."""

    @property
    @abstractmethod
    def room(self) -> int:
        """Elements a sample of its input once it is padded; 0 where that is the input itself."""

    @property
    @abstractmethod
    def columns(self) -> int:
        """Elements a sample that onnxruntime writes out besides (im2col), in float64 and one group at a time."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer(Wired):
    """One layer of a network, of a kind that answers what is asked of it.

    Facts of the kind:
    inverse: "shared" where one block of weights serves all channels of the input, "own" where there is one weight a
    channel, "passes" where a lone reader's signal needs no weight;
    inverse_name, joint_name: what the inverse is called where the layer is the only reader, and among several;
    intercept: whether its block has an intercept whatever `conv_bias` says (method, section 2);
    sample_rows: whether a sample is one row of the fit, not each location;
    rearranges: whether the output holds just the input's values, in another shape or order;
    mixes: whether an output is made of several features or locations;
    carries: whether an output that comes out of values behind an activation still counts as one;
    hands_on: whether its neighbours tell for it which axis holds channels (method, section 10): what is element-wise,
    and a Transpose.
    """

    inverse: ClassVar[Inverse]
    inverse_name: ClassVar[str]
    joint_name: ClassVar[str]
    intercept: ClassVar[bool]
    sample_rows: ClassVar[bool]
    rearranges: ClassVar[bool]
    mixes: ClassVar[bool]
    carries: ClassVar[bool]
    hands_on: ClassVar[bool]

    @property
    @abstractmethod
    def paths(self) -> tuple[int, ...]:
        """The inputs that signals come back to, by position; the others are state, recorded and frozen."""

    @property
    @abstractmethod
    def channels(self) -> int | None:
        """The axis, counted with the batch, that holds channels at input and output; None where it does not say."""

    @property
    @abstractmethod
    def mask(self) -> Mask:
        """Which values of the output count as having fired."""

    def __init_subclass__(cls, *, group: bool = False) -> None:
        """Refuse a kind that leaves a question open.

        group: whether the class is no kind but what several kinds have in common.
        """
        super().__init_subclass__()
        missing = [] if group else unanswered(cls)
        if missing:
            raise TypeError(f"layer kind {cls.__name__} does not answer: {', '.join(missing)}")

    @property
    @abstractmethod
    def fires(self) -> bool:
        """Whether the output tells which neurons fired: an activation."""

    @property
    @abstractmethod
    def keeps_zero(self) -> bool:
        """Whether an input that is zero makes only outputs that are zero, so that their mask is the input's too."""

    @property
    @abstractmethod
    def cut(self) -> Cut | None:
        """The part of the input that is read, where the layer cuts it out; None where it reads all."""

    @abstractmethod
    def never_negative(self, inputs: bool) -> bool:
        """Whether no output can be negative. inputs: whether no input can be."""

    @abstractmethod
    def leads(self, wanted: Flags, slot: int) -> Flags:
        """Which elements of input `slot` [*in_shapes[slot]] a path leads from to those `wanted` of the output.

        wanted: [*out_shape]. Element by element; what the layer leaves out counts as read unless it is made to pick:
        selections and masks (method, section 10, fine print 3). Statistics that a layer divides by are state, no path.
        """

    @property
    @abstractmethod
    def axes(self) -> tuple[int, ...] | None:
        """The input's axis that each axis of the output is, batch included; None where axes are not kept."""

    @property
    @abstractmethod
    def operations(self) -> float:
        """Multiplications and additions a sample of the layer, or of its adjoint."""

    @abstractmethod
    def describe(self) -> str:
        """What a reader of the layer table wants to know beyond kind and shapes."""

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """What a manifest holds beyond kind, names, shapes and arrays: plain values, tuples and windows."""

    @abstractmethod
    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        """The value [n, *out_shape] of inputs [n, *in_shape], in the array namespace."""

    @abstractmethod
    def emit(self, writer: Writer) -> None:
        """Write the layer as ONNX."""

    @property
    @abstractmethod
    def no_way_back(self) -> str | None:
        """Why `emit_back` cannot write the layer, as the end of a sentence; None where it can."""

    @abstractmethod
    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        """Write as ONNX how signals [2n, *out_shape] come back, and return the name of those at input `slot`
        [2n, *in_shapes[slot]], before any weight a channel, intercept and mask.
        """

    @property
    def parameters(self) -> int:
        """How many numbers were trained."""
        return sum(array.size for array in self.arrays.values())


QUESTIONS = (
    *("kind", "inverse", "inverse_name", "joint_name", "intercept", "sample_rows", "rearranges", "mixes"),
    *(
        "carries",
        "hands_on",
        "channels",
        "fires",
        "keeps_zero",
        "cut",
        "never_negative",
        "axes",
        "arrays",
        "work",
        "room",
        "columns",
        "operations",
        "describe",
    ),
    *("paths", "mask", "details", "forward", "emit", "no_way_back", "emit_back", "leads"),
)
"""What every kind answers."""


def unanswered(cls: type[Layer]) -> list[str]:
    """The questions that a class leaves open: those of QUESTIONS, and whatever its groups ask."""
    asked = dict.fromkeys(QUESTIONS)
    for base in cls.__mro__:
        asked.update(dict.fromkeys(name for name, value in vars(base).items() if _is_open(value)))
    return [name for name in asked if not hasattr(cls, name) or _is_open(getattr(cls, name))]


def _is_open(value: object) -> bool:
    return bool(getattr(value, "__isabstractmethod__", False))


K = TypeVar("K", bound=Layer)


def as_kind(layer: Wired, kind: type[K]) -> K:
    """The layer as one of a kind or group. Raises UnsupportedModel, naming it, where it is none."""
    if not isinstance(layer, kind):
        raise UnsupportedModel(f"layer {layer.name!r} ({type(layer).__name__}) is no {kind.__name__}")
    return layer
