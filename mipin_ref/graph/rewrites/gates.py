"""Products of two tensors become gates: which of the two is the gate (method, section 10)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from mipin_ref.graph.draft import Gap, Product, Softmax
from mipin_ref.graph.problem import Problem
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Activation, Affine, Gate, Gather, Shared, Wired

BOUNDED = frozenset({"Sigmoid", "HardSigmoid", "Sign"})
GATED = frozenset({"Swish", "Gelu", "HardSwish", "Mish", "SiLU", "GELU"})


def settle_gates(wiring: Wiring, places: Mapping[str, int], data: str) -> tuple[Problem, ...]:
    """Put a Gate in the place of each Product, and a Gap where nothing tells which operand is the gate.

    places: of the nodes of the file, by output; data: the explained input. Returns why, for each Gap.
    """
    problems = []
    explained = _made_of({data}, wiring.layers)
    for layer in [layer for layer in wiring.layers if isinstance(layer, Product)]:
        gate = 1 if layer.function == "Div" else _gate(wiring, layer, explained)
        if gate is None:
            a, b = layer.inputs
            problem = Problem(
                f"{layer.function} {layer.name!r}",
                f"it multiplies {a!r} and {b!r}, and nothing tells which of them is the gate",
                places.get(layer.output, 0),
            )
            problems.append(problem)
            wiring.leave(layer, problem)
            continue
        order = (1 - gate, gate)
        wiring.replace(
            Gate(
                name=layer.name,
                inputs=tuple(layer.inputs[one] for one in order),
                output=layer.output,
                in_shapes=tuple(layer.in_shapes[one] for one in order),
                out_shape=layer.out_shape,
                function=layer.function,
            )
        )
    return tuple(problems)


def _gate(wiring: Wiring, product: Product, explained: frozenset[str]) -> int | None:
    """Which operand is the gate, by the order of the method; None where none of its rules tells one from the other.

    explained: the tensors that the explained input leads to. What nothing of it leads to can only be state, as a mask
    that is given; and a mask that is made of ids, as a whole number, is no content either.
    """
    if product.inputs[0] == product.inputs[1]:
        return None
    answers = [name not in explained for name in product.inputs]
    if answers[0] != answers[1]:
        return answers.index(True)
    spread = [
        shape != product.out_shape or _is_repeated(wiring, name)
        for name, shape in zip(product.inputs, product.in_shapes, strict=True)
    ]
    for tells in (_whole_numbers, _squashed, _named("Tanh")):
        answers = [_comes_from(wiring, name, tells) for name in product.inputs]
        if answers[0] != answers[1]:
            return answers.index(True)
    if spread[0] != spread[1]:
        gate = spread.index(True)
        if product.inputs[gate] in _made_of({product.inputs[1 - gate]}, wiring.layers):
            # A map is scaled by its own response, whatever made the map: ConvNeXt V2 does so behind a GELU.
            return gate
    answers = [_comes_from(wiring, name, _gated) for name in product.inputs]
    if answers[0] != answers[1]:
        return answers.index(True)
    if spread[0] != spread[1]:
        return spread.index(True)
    answers = [_comes_from(wiring, name, _rectified) for name in product.inputs]
    return answers.index(True) if answers[0] != answers[1] else None


def _made_of(tensors: Collection[str], layers: Sequence[Wired]) -> frozenset[str]:
    """Some tensors, and all that layers make of them. layers: in execution order."""
    made = {*tensors}
    for layer in layers:
        if not made.isdisjoint(layer.inputs):
            made.add(layer.output)
    return frozenset(made)


def _comes_from(wiring: Wiring, name: str, tells: Callable[[Wiring, Wired], bool]) -> bool:
    """Whether the way back from a tensor, through layers of one operand, meets a layer that tells a gate."""
    while (layer := wiring.maker(name)) is not None:
        if tells(wiring, layer):
            return True
        if len(layer.inputs) != 1 or isinstance(layer, Shared) or _looks_up(layer):
            return False
        name = layer.inputs[0]
    return False


def _looks_up(layer: Wired) -> bool:
    """Whether rows of a table are picked: what they are picked by says nothing about them."""
    return isinstance(layer, Gap) and layer.name.split(" ", 1)[0] == "Gather"


def _whole_numbers(wiring: Wiring, layer: Wired) -> bool:
    """What is made of integers or booleans: of other numbers a Cast hands its input on."""
    return isinstance(layer, Gap) and layer.name.split(" ", 1)[0] in ("Cast", "OneHot")


def _squashed(wiring: Wiring, layer: Wired) -> bool:
    """Sigmoid, HardSigmoid or Softmax, as one operator or written out."""
    if isinstance(layer, Softmax):
        return True
    if isinstance(layer, Gap):
        return layer.name.split(" ", 1)[0] == "Softmax"
    if not isinstance(layer, Activation):
        return False
    if layer.named in BOUNDED:
        return True
    if layer.function != "Clip" or layer.options.get("min") != 0 or "max" not in layer.options:
        return False
    # Add 3, Clip from 0 to 6, Div by 6: what stands behind changes nothing of it.
    before = wiring.maker(layer.input)
    return isinstance(before, Affine) and bool(np.all(before.shift == before.shift.flat[0]) and before.shift.flat[0])


def _named(name: str) -> Callable[[Wiring, Wired], bool]:
    return lambda wiring, layer: isinstance(layer, Activation) and layer.named == name


def _gated(wiring: Wiring, layer: Wired) -> bool:
    return isinstance(layer, Activation) and layer.named in GATED


def _rectified(wiring: Wiring, layer: Wired) -> bool:
    """A Relu, or a Clip that begins at zero too, as in ReGLU (Shazeer 2020)."""
    if not isinstance(layer, Activation):
        return False
    return layer.named == "Relu" or (layer.function == "Clip" and layer.options.get("min") == 0)


def _is_repeated(wiring: Wiring, name: str) -> bool:
    """Whether the file writes out that a tensor is broadcast along an axis, by Expand or Tile."""
    layer = wiring.maker(name)
    return isinstance(layer, Gather) and any(
        pick is not None and length == 1 and len(pick) > 1
        for pick, length in zip(layer.picks, layer.in_shape, strict=True)
    )
