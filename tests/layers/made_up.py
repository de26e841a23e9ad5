"""A kind that the package does not have, written as CONTRIBUTING asks, and a network that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import mipin_ref as mr
from mipin_ref.backend import Array, Backend
from mipin_ref.layers import Dense, Layer, Reshape, States, Unweighted, Writer
from mipin_ref.layers.groups import ElementWise, Untrained
from mipin_ref.layers.kind import BackWriter

SHAPE = (3, 4, 4)


@dataclass(frozen=True, eq=False, kw_only=True)
class Negation(Unweighted, ElementWise, Untrained):
    """x -> -x. Passed on unchanged its signals would have the wrong sign."""

    kind = "Negation"
    inverse = "passes"
    inverse_name = "turns"
    joint_name = "Negation"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = False
    carries = False
    channels = None
    fires = False
    keeps_zero = True

    def never_negative(self, inputs: bool) -> bool:
        return False

    @property
    def work(self) -> int:
        return self.touched

    def describe(self) -> str:
        return ""

    def details(self) -> dict[str, Any]:
        return {}

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        return -inputs[0]

    def emit(self, writer: Writer) -> None:
        writer.node("Neg")

    @property
    def no_way_back(self) -> str | None:
        return None

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        return writer.append("Neg", [signal], "back")

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return -signal


def network(odd: Layer, sign: float = 1.0) -> mr.Network:
    """A layer from tensor "t" to "u", between an input of SHAPE and a Dense whose weight is turned by `sign`."""
    flat = int(np.prod(odd.out_shape))
    weight = sign * np.random.default_rng(3).normal(size=(flat, 2))
    layers = [
        odd,
        Reshape(name="f", inputs=("u",), output="f", in_shapes=(odd.out_shape,), out_shape=(flat,)),
        Dense(
            name="y",
            inputs=("f",),
            output="y",
            in_shapes=((flat,),),
            out_shape=(2,),
            weight=weight.astype(np.float32),
            bias=np.zeros(2, np.float32),
        ),
    ]
    return mr.Network(
        layers=tuple(layers),
        input="t",
        input_shape=odd.in_shape,
        dtype=np.dtype(np.float32),
        output_names=("y",),
        output="y",
        logits="y",
        target_shape=(2,),
        aliases={},
        folded=frozenset(),
        sha256="",
    )


def negation() -> Negation:
    return Negation(name="odd", inputs=("t",), output="u", in_shapes=(SHAPE,), out_shape=SHAPE)


def unchanged() -> Reshape:
    return Reshape(name="odd", inputs=("t",), output="u", in_shapes=(SHAPE,), out_shape=SHAPE)
