"""How far down inverses reach: the layers from the logits to the nodes that have none, and what these keep apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mipin_ref.graph.draft import Gap, Softmax
from mipin_ref.graph.problem import Problem, unsupported
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Layer, Shape, Shared, Wired

CANNOT = "the network has nodes that cannot be handled"
NOTHING = "nothing in front of the output has an inverse, so that there is no tensor to explain"


Apart = Mapping[str, tuple[Problem, ...]]
"""Tensor -> the nodes without an inverse that lie between it and some tensor."""


@dataclass(frozen=True)
class Frontier:
    """layers: those that lead to the logits and have an inverse; sources: the tensors behind the last nodes without
    one, and other inputs, with the shape of a sample; apart: for each of those that signals would have to go back to,
    which nodes keep it apart from the tensors that it is made of; hidden: the same of all sources, and by all ways,
    those that are state included; above: the tensors of the file in front of the
    sources; problems: all nodes of the file that have no inverse; work: of what is in front of them.
    """

    layers: tuple[Layer, ...]
    sources: Mapping[str, Shape]
    apart: Mapping[str, Apart]
    hidden: Mapping[str, Apart]
    above: frozenset[str]
    problems: tuple[Problem, ...]
    work: int


def frontier(
    wiring: Wiring, problems: tuple[Problem, ...], names: frozenset[str], data: str, places: Mapping[str, int]
) -> Frontier:
    """Cut the layers where nodes have no inverse.

    problems: of the file so far; names: of its tensors; data: the input that is explained;
    places: of nodes, by output. Raises UnsupportedModel,
    with every node, where none of the layers in front of the logits has an inverse.
    """
    made = {layer.output: layer for layer in wiring.layers}
    found = [*problems, *(late_problem(layer, places) for layer in wiring.layers if isinstance(layer, Softmax))]
    found.sort(key=lambda problem: problem.place)
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
    moved = bool(sources) and all(layer.rearranges for layer in kept)
    # What is computed of probabilities without weights is no more to be looked at than these.
    bare = any(isinstance(layer, Softmax) for layer in sources.values()) and not any(
        isinstance(one, Shared) for one in kept
    )
    if moved or bare or any(name not in names or name in wiring.folded for name in sources):
        raise unsupported(NOTHING, found)
    paths = {wiring.logits}
    for one in kept:
        if one.output in paths:
            paths.update(_paths(one))
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
        {name: _apart(layer, made, places, _paths) for name, layer in sources.items() if name in paths},
        {name: _apart(layer, made, places, lambda one: one.inputs) for name, layer in sources.items()},
        frozenset(made.keys() - remaining),
        tuple(found),
        sum(layer.work for name, layer in made.items() if name not in remaining or name in sources),
    )


def _paths(layer: Wired) -> tuple[str, ...]:
    """The inputs that signals come back to; of what has no inverse all."""
    return tuple(layer.inputs[slot] for slot in layer.paths) if isinstance(layer, Layer) else layer.inputs


def _apart(
    source: Wired, made: Mapping[str, Wired], places: Mapping[str, int], read: Callable[[Wired], tuple[str, ...]]
) -> Apart:
    """What lies between a source and each tensor that signals would go back to from it. read: inputs that count."""
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
            reasons.update(dict.fromkeys(layer.problems if isinstance(layer, Gap) else (late_problem(layer, places),)))
        for one in read(layer):
            between.setdefault(one, {}).update(reasons)
            waiting.add(one)
    return {name: tuple(reasons) for name, reasons in between.items() if name != source.output}


def late_problem(layer: Wired, places: Mapping[str, int]) -> Problem:
    """Why a layer of the draft that only a head has is no layer of the network; places: of nodes, by output."""
    place = places.get(layer.output, 0)
    if isinstance(layer, Softmax):
        reason = "before the end, where it multiplies nothing, it has no inverse: each of its values depends on all"
        return Problem(f"{layer.function} {layer.name!r}", reason, place)
    return Problem(f"{layer.kind} {layer.name!r}", "no kind of layer", place)
