"""What steps know of each kind of layer, in tables without a default: a kind that is not in one is refused by name.

A kind that a step forgot must not pass as another: numbers would be wrong without a word. So a table is asked by the
exact class of a layer, and everything that is asked of a kind is either in such a table or a ladder of `isinstance`
that ends in `unknown_kind`. Steps ask before anything is computed: a plan, the rules of a sweep, a model to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from mipin_ref.graph.layer import (
    Activation,
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Pad,
    Reshape,
    Slice,
    Transpose,
    unknown_kind,
)

T = TypeVar("T")


class KindTable(Generic[T]):
    """An entry a kind of layer, of one step, which `step` names for messages.

    tables: all there are, for the test that asks each of them for every kind.
    """

    tables: list[KindTable[object]] = []  # noqa: RUF012 (shared on purpose: each instance adds itself)

    def __init__(self, step: str, entries: Mapping[type[Layer], T]) -> None:
        self.step, self._entries = step, dict(entries)
        KindTable.tables.append(self)  # type: ignore[arg-type]

    def of(self, layer: Layer) -> T:
        """The entry of a layer's kind. Raises UnsupportedModel, naming layer and step, where there is none."""
        if type(layer) not in self._entries:
            raise unknown_kind(layer, self.step)
        return self._entries[type(layer)]


@dataclass(frozen=True)
class Inverted:
    """How signals come back through a layer (method of the paper, 2).

    weights: of its inverse: "shared" by all channels of the tensor that it reads (a Dense, a Conv), one a channel of
    its "own" (averages, constants), or "none", so that the signal passes and weights come only from a joint fit;
    intercept: whether that inverse has one whatever the options say; keeps_zero: whether the output is zero wherever
    the input is; of an activation that is its own.
    """

    weights: Literal["shared", "own", "none"]
    intercept: bool = False
    keeps_zero: bool = False


INVERTED: KindTable[Inverted] = KindTable(
    "the plan of inverses",
    {
        Dense: Inverted("shared", intercept=True),
        Conv: Inverted("shared"),
        AveragePool: Inverted("own", intercept=True),
        GlobalAveragePool: Inverted("own", intercept=True),
        Affine: Inverted("own", intercept=True),
        Activation: Inverted("none"),
        Add: Inverted("none"),
        MaxPool: Inverted("none", keeps_zero=True),
        Concat: Inverted("none", keeps_zero=True),
        Slice: Inverted("none", keeps_zero=True),
        Pad: Inverted("none", keeps_zero=True),
        Reshape: Inverted("none", keeps_zero=True),
        Transpose: Inverted("none", keeps_zero=True),
    },
)

REARRANGES: KindTable[bool] = KindTable(
    "the search for tensors that hold the same values",
    {
        **dict.fromkeys((Reshape, Transpose), True),
        **dict.fromkeys((Dense, Conv, MaxPool, AveragePool, GlobalAveragePool, Affine, Activation), False),
        **dict.fromkeys((Add, Concat, Slice, Pad), False),
    },
)
"""Whether the output holds all values of the input in another shape or order."""


AXES: KindTable[Literal["named", "kept", "turned", "lost"]] = KindTable(
    "the search for channel axes",
    {
        **dict.fromkeys((Conv, MaxPool, AveragePool, GlobalAveragePool), "named"),
        **dict.fromkeys((Affine, Activation, Add, Concat, Slice, Pad), "kept"),
        Transpose: "turned",
        **dict.fromkeys((Dense, Reshape), "lost"),
    },
)
"""What a layer says of channels: that axis 1 holds them, that both its sides have them on one axis, on another, or
nothing."""


def keeps_zero(layer: Layer) -> bool:
    """Whether the output is zero wherever the input is."""
    return layer.keeps_zero if isinstance(layer, Activation) else INVERTED.of(layer).keeps_zero
