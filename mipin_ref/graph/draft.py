"""Layers that exist only between reading and canonicalisation: each must dissolve into a neighbour or be refused."""

from __future__ import annotations

from dataclasses import dataclass

from mipin_ref.graph.network import Array, Layer


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Layer):
    """x -> x · scale + shift; both of the rank of the per-sample shape, with axes of length one where constant."""

    kind = "Affine"
    operator: str
    scale: Array
    shift: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Layer):
    """Zeros around the sample; begin and end have one entry per axis of the per-sample shape."""

    kind = "Pad"
    begin: tuple[int, ...]
    end: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Layer):
    """Softmax, LogSoftmax, or the two-class [1 - sigmoid(z), sigmoid(z)] ("TwoClassSigmoid")."""

    kind = "Softmax"
    function: str
