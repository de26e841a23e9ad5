"""How far down inverses reach: the layers from the logits to the nodes that have none, and what these keep apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.draft import Gap, Log, Softmax
from mipin_ref.graph.problem import Problem
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Layer, Shape, Wired

CANNOT = "the network has nodes that cannot be inverted"


@dataclass(frozen=True)
class Frontier:
    """layers: those that lead to the logits and have an inverse; sources: the tensors behind the last nodes without
    one, and other inputs, with the shape of a sample; blocked: tensor -> the nodes without an inverse on its ways to
    the logits, of the input too; above: the tensors of the file in front of the sources; work: of what is in front of
    them.
    """

    layers: tuple[Layer, ...]
    sources: Mapping[str, Shape]
    blocked: Mapping[str, tuple[Problem, ...]]
    above: frozenset[str]
    work: int


def frontier(wiring: Wiring, problems: tuple[Problem, ...], names: frozenset[str], data: str) -> Frontier:
    """Cut the layers where nodes have no inverse.

    problems: of the file so far; names: of its tensors; data: the input that is explained. Raises UnsupportedModel,
    with every node, where none of the layers in front of the logits has an inverse.
    """
    made = {layer.output: layer for layer in wiring.layers}
    found = [*problems, *(late_problem(layer) for layer in wiring.layers if isinstance(layer, Softmax | Log))]
    needed, kept = {wiring.logits}, list[Layer]()
    sources: dict[str, Wired] = {}
    for layer in reversed(wiring.layers):
        if layer.output not in needed:
            continue
        if isinstance(layer, Layer):
            kept.append(layer)
            needed.update(layer.inputs)
        else:
            sources[layer.output] = layer
    if wiring.logits in sources or any(name not in names or name in wiring.folded for name in sources):
        raise UnsupportedModel(CANNOT, [str(problem) for problem in found])
    blocked: dict[str, dict[Problem, None]] = {}
    for layer in sources.values():
        _block(layer, made, blocked)
    remaining = {layer.output for layer in kept} | sources.keys()
    roots = {
        name: shape
        for layer in reversed(kept)
        for name, shape in zip(layer.inputs, layer.in_shapes, strict=True)
        if name not in made and name != data
    }
    return Frontier(
        tuple(reversed(kept)),
        roots | {name: layer.out_shape for name, layer in reversed(sources.items())},
        {name: tuple(reasons) for name, reasons in blocked.items()},
        frozenset(made.keys() - remaining),
        sum(layer.work for name, layer in made.items() if name not in remaining or name in sources),
    )


def _block(source: Wired, made: Mapping[str, Wired], blocked: dict[str, dict[Problem, None]]) -> None:
    """Note for every tensor that a source depends on which nodes without an inverse lie between them."""
    order = {name: place for place, name in enumerate(made)}
    between: dict[str, dict[Problem, None]] = {source.output: {}}
    waiting = {source.output}
    while waiting:
        name = max(waiting, key=lambda one: order.get(one, -1))
        waiting.discard(name)
        layer = made.get(name)
        if layer is None:
            continue
        reasons = dict(between[name])
        if not isinstance(layer, Layer):
            reasons[_problem(layer)] = None
        for one in layer.inputs:
            between.setdefault(one, {}).update(reasons)
            waiting.add(one)
    for name, reasons in between.items():
        if name != source.output:
            blocked.setdefault(name, {}).update(reasons)


def _problem(layer: Wired) -> Problem:
    return layer.problem if isinstance(layer, Gap) else late_problem(layer)


def late_problem(layer: Wired) -> Problem:
    """Why a layer of the draft that only a head has is no layer of the network."""
    if isinstance(layer, Softmax):
        return Problem(f"{layer.function} {layer.name!r}", "before the end it is no element-wise activation")
    if isinstance(layer, Log):
        return Problem(
            f"{layer.kind} {layer.name!r}",
            "before the end, where it belongs to no head, no inverse is known for this operator",
        )
    return Problem(f"{layer.kind} {layer.name!r}", "no kind of layer")
