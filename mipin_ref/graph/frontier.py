"""How far down inverses reach: the layers from the logits to the nodes that have none, and what these keep apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.draft import Gap, Softmax
from mipin_ref.graph.problem import Problem
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Layer, Shape, Wired

CANNOT = "the network has nodes that cannot be inverted"


@dataclass(frozen=True)
class Frontier:
    """layers: those that lead to the logits and have an inverse; sources: the tensors behind the last nodes without
    one, and other inputs, with the shape of a sample; blocked: tensor -> the nodes without an inverse on the ways by
    which signals come back to it, of the input too; hidden: the same on all its ways to the logits, those that are
    state included; above: the tensors of the file in front of the sources; work: of what is in front of them.
    """

    layers: tuple[Layer, ...]
    sources: Mapping[str, Shape]
    blocked: Mapping[str, tuple[Problem, ...]]
    hidden: Mapping[str, tuple[Problem, ...]]
    above: frozenset[str]
    work: int


def frontier(wiring: Wiring, problems: tuple[Problem, ...], names: frozenset[str], data: str) -> Frontier:
    """Cut the layers where nodes have no inverse.

    problems: of the file so far; names: of its tensors; data: the input that is explained. Raises UnsupportedModel,
    with every node, where none of the layers in front of the logits has an inverse.
    """
    made = {layer.output: layer for layer in wiring.layers}
    found = [*problems, *(late_problem(layer) for layer in wiring.layers if isinstance(layer, Softmax))]
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
    reached = {wiring.logits}
    for layer in kept:
        if layer.output in reached:
            reached.update(_paths(layer))
    blocked, hidden = dict[str, dict[Problem, None]](), dict[str, dict[Problem, None]]()
    for name, layer in sources.items():
        _block(layer, made, hidden, lambda one: one.inputs)
        if name in reached:
            _block(layer, made, blocked, _paths)
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
        {name: tuple(reasons) for name, reasons in hidden.items()},
        frozenset(made.keys() - remaining),
        sum(layer.work for name, layer in made.items() if name not in remaining or name in sources),
    )


def _paths(layer: Wired) -> tuple[str, ...]:
    """The inputs that signals come back to; of what has no inverse all."""
    return tuple(layer.inputs[slot] for slot in layer.paths) if isinstance(layer, Layer) else layer.inputs


def _block(
    source: Wired,
    made: Mapping[str, Wired],
    blocked: dict[str, dict[Problem, None]],
    read: Callable[[Wired], tuple[str, ...]],
) -> None:
    """Note for every tensor that a source depends on which nodes without an inverse lie between them.

    read: the inputs of a layer that count.
    """
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
        for one in read(layer):
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
    return Problem(f"{layer.kind} {layer.name!r}", "no kind of layer")
