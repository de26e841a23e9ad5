"""Small networks by hand with gates, activations written out, maxima of tensors and sums that broadcast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.networks.builder import Builder, Network, seeded
from tests.oracles.spec import (
    Activation,
    Add,
    Difference,
    Extremum,
    Gate,
    GlobalAveragePool,
    Negative,
    Reshape,
    Slice,
    Written,
    window,
)
from tests.oracles.spellings import SPELLINGS

SHAPE = (3, 4, 4)
ONE, THREE = window((1, 1)), window((3, 3), pads=(1, 1, 1, 1))


class Drawn(Builder):
    """A builder with the pieces of these networks; each returns the name of what it makes."""

    def __init__(self, seed: int, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__(seeded(seed), shape)

    def act(self, source: str, kind: str) -> str:
        return self.add(Activation((source,), self.name(), kind))

    def written(self, source: str, spelling: str) -> str:
        return self.add(Written((source,), self.name(), spelling))

    def gate(self, content: str, gate: str, function: str = "Mul", *, swapped: bool = False) -> str:
        return self.add(Gate((content, gate), self.name(), function, swapped))

    def pool(self, source: str) -> str:
        return self.add(GlobalAveragePool((source,), self.name()))

    def squeezed(self, source: str, squash: str = "Sigmoid") -> str:
        """One number a channel, between 0 and 1 where it is a Sigmoid's."""
        channels = self.shapes[source][0]
        hidden = self.act(self.conv(self.pool(source), 2, ONE), "Relu")
        return self.act(self.conv(hidden, channels, ONE), squash)

    def sliced(self, source: str, begin: int, end: int) -> str:
        shape = self.shapes[source]
        rest = shape[1:]
        return self.add(Slice((source,), self.name(), (begin, *(0 for _ in rest)), (end, *rest)))

    def ended(self, source: str, classes: int = 3) -> Network:
        """With a Conv, its mean and a Dense behind a map; behind a vector a Dense."""
        if len(self.shapes[source]) > 1:
            mixed = self.act(self.conv(source, 3, THREE), "Relu")
            pooled = self.pool(mixed)
            source = self.add(Reshape((pooled,), self.name(), (3,)))
        self.dense(source, classes)
        return Network(tuple(self.ops), self.input_shape)


def squeeze_and_excitation(seed: int, squash: str = "Sigmoid", *, swapped: bool = False) -> Network:
    b = Drawn(seed)
    x = b.act(b.conv("input", 4, THREE), "Relu")
    return b.ended(b.gate(x, b.squeezed(x, squash), swapped=swapped))


def excited_residual(seed: int) -> Network:
    """A gated branch beside the tensor itself, as in an SE-ResNet."""
    b = Drawn(seed)
    x = b.act(b.conv("input", 3, THREE), "Relu")
    y = b.conv(x, 3, THREE)
    return b.ended(b.act(b.add(Add((b.gate(y, b.squeezed(y)), x), b.name())), "Relu"))


def read_beside(seed: int) -> Network:
    """The content of a gate with another reader: a joint fit of a block of its own."""
    b = Drawn(seed)
    x = b.act(b.conv("input", 3, THREE), "Relu")
    gated = b.gate(x, b.squeezed(x))
    return b.ended(b.add(Add((gated, b.conv(x, 3, THREE), x), b.name())))


def spatial(seed: int) -> Network:
    """One number a place, as in CBAM."""
    b = Drawn(seed)
    x = b.act(b.conv("input", 3, THREE), "Relu")
    return b.ended(b.gate(x, b.act(b.conv(x, 1, THREE), "Sigmoid")))


def divided(seed: int) -> Network:
    b = Drawn(seed)
    x = b.act(b.conv("input", 3, THREE), "Tanh")
    return b.ended(b.gate(x, b.act(b.conv(x, 3, ONE), "Softplus"), "Div"))


def linear_unit(seed: int) -> Network:
    """Two halves of one tensor, of which the second is state."""
    b = Drawn(seed)
    x = b.conv("input", 4, THREE)
    return b.ended(b.gate(b.sliced(x, 0, 2), b.act(b.sliced(x, 2, 4), "Sigmoid")))


def tanh_unit(seed: int) -> Network:
    """Sigmoid times Tanh, the Sigmoid first in the file."""
    b = Drawn(seed)
    gate = b.act(b.conv("input", 3, THREE), "Sigmoid")
    return b.ended(b.gate(b.act(b.conv("input", 3, THREE), "Tanh"), gate, swapped=True))


def tanh_gate(seed: int) -> Network:
    """No Sigmoid anywhere: what comes from a Tanh is the gate."""
    b = Drawn(seed)
    gate = b.act(b.conv("input", 3, THREE), "Tanh")
    return b.ended(b.gate(b.conv("input", 3, ONE), gate, swapped=True))


def swish_unit(seed: int) -> Network:
    """SwiGLU on features."""
    b = Drawn(seed, (6,))
    gate = b.written(b.dense("input", 5), "silu")
    return b.ended(b.gate(b.dense("input", 5), gate, swapped=True))


def broadcast_gate(seed: int) -> Network:
    """Neither operand is squashed: what is broadcast is the gate."""
    b = Drawn(seed)
    x = b.conv("input", 3, THREE)
    return b.ended(b.gate(x, b.conv(b.pool(x), 3, ONE), swapped=True))


def broadcast_content(seed: int) -> Network:
    """One number a channel times a map of gates: the content takes the mean over its copies."""
    b = Drawn(seed)
    gate = b.act(b.conv("input", 3, THREE), "Sigmoid")
    x = b.act(b.conv("input", 3, THREE), "Relu")
    return b.ended(b.gate(b.pool(x), gate))


def gate_of_a_gate(seed: int) -> Network:
    b = Drawn(seed)
    x = b.act(b.conv("input", 3, THREE), "HardSwish")
    y = b.gate(x, b.squeezed(x, "HardSigmoid"))
    return b.ended(b.gate(y, b.act(b.conv(y, 1, ONE), "Sigmoid")))


def maximum(seed: int, function: str = "Max", count: int = 2) -> Network:
    b = Drawn(seed)
    return b.ended(b.add(Extremum(tuple(b.conv("input", 3, THREE) for _ in range(count)), b.name(), function)))


def tied(seed: int) -> Network:
    """Both operands are at the same bound at many places: the first wins."""
    b = Drawn(seed)
    parts = tuple(
        b.add(Activation((b.conv("input", 3, THREE),), b.name(), "Clip", low=-0.25, high=0.25)) for _ in range(2)
    )
    return b.ended(b.act(b.add(Extremum(parts, b.name(), "Max")), "Softplus"))


def maximum_of_itself(seed: int) -> Network:
    """A tensor against a Conv of it: two ways back to one tensor."""
    b = Drawn(seed)
    x = b.act(b.conv("input", 3, THREE), "Tanh")
    return b.ended(b.add(Extremum((b.conv(x, 3, THREE), x), b.name(), "Min")))


def difference(seed: int) -> Network:
    b = Drawn(seed)
    x = b.act(b.conv("input", 3, THREE), "Relu")
    turned = b.add(Negative((b.conv(x, 3, ONE),), b.name()))
    return b.ended(b.act(b.add(Difference((turned, b.conv(x, 3, THREE)), b.name())), "Tanh"))


def residual_difference(seed: int) -> Network:
    """x - f(x) of the tensor itself: two readers, of which one turns the sign."""
    b = Drawn(seed)
    x = b.conv("input", 3, THREE)
    return b.ended(b.add(Difference((b.act(x, "Tanh"), x), b.name())))


def broadcast_sum(seed: int, kind: str = "sum") -> Network:
    """A map and one number a channel."""
    b = Drawn(seed)
    x = b.act(b.conv("input", 3, THREE), "Relu")
    pooled = b.conv(b.pool(x), 3, ONE)
    y = b.conv(x, 3, ONE)
    parts = (pooled, y) if kind == "sum" else (y, pooled)
    return b.ended(b.add(Add(parts, b.name()) if kind == "sum" else Difference(parts, b.name())))


def spelt(seed: int, spelling: str) -> Network:
    """An activation written out, behind a Conv and in front of one."""
    b = Drawn(seed)
    x = b.written(b.conv("input", 3, THREE), spelling)
    return b.ended(x)


def spelt_at_the_input(seed: int, spelling: str) -> Network:
    b = Drawn(seed)
    return b.ended(b.conv(b.written("input", spelling), 3, THREE))


GATED: dict[str, Callable[[int], Network]] = {
    "squeeze and excitation": squeeze_and_excitation,
    "squeeze and excitation, gate first": lambda seed: squeeze_and_excitation(seed, swapped=True),
    "squeeze and excitation, hard": lambda seed: squeeze_and_excitation(seed, "HardSigmoid"),
    "squeeze and excitation, Relu": lambda seed: squeeze_and_excitation(seed, "Relu"),
    "excited residual": excited_residual,
    "read beside": read_beside,
    "spatial": spatial,
    "divided": divided,
    "linear unit": linear_unit,
    "tanh unit": tanh_unit,
    "tanh gate": tanh_gate,
    "swish unit": swish_unit,
    "broadcast gate": broadcast_gate,
    "broadcast content": broadcast_content,
    "gate of a gate": gate_of_a_gate,
    "maximum": maximum,
    "minimum of three": lambda seed: maximum(seed, "Min", 3),
    "tied": tied,
    "maximum of itself": maximum_of_itself,
    "difference": difference,
    "residual difference": residual_difference,
    "broadcast sum": broadcast_sum,
    "broadcast difference": lambda seed: broadcast_sum(seed, "difference"),
    **{f"{name}, written out": lambda seed, name=name: spelt(seed, name) for name in SPELLINGS},  # type: ignore[misc]
    "silu at the input": lambda seed: spelt_at_the_input(seed, "silu"),
}


def varied(make: Callable[[int], Network], values: Callable[[Network, int], np.ndarray]) -> tuple[Network, int]:
    """The first of these networks of whose logits each varies, and its seed."""
    for seed in range(50):
        network = make(seed)
        if np.all(np.ptp(values(network, seed), axis=0) > 1e-3):
            return network, seed
    raise AssertionError("all of these networks are dead")
