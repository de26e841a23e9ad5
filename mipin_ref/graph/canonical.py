"""Draft layers -> canonical layers: paddings and constants dissolve into neighbours, the head goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.draft import Softmax
from mipin_ref.graph.frontier import CANNOT, Frontier, frontier, late_problem
from mipin_ref.graph.head import Head
from mipin_ref.graph.problem import unsupported
from mipin_ref.graph.read import Drafted
from mipin_ref.graph.rewrites.activations import gather_activations, settle_logarithms
from mipin_ref.graph.rewrites.affines import fold_affines, settle_affines
from mipin_ref.graph.rewrites.attention import settle_attention
from mipin_ref.graph.rewrites.gates import settle_gates
from mipin_ref.graph.rewrites.groups import join_groups
from mipin_ref.graph.rewrites.head import flatten_logits, head_layers, refuse_mean_of_probabilities, remove_head
from mipin_ref.graph.rewrites.pads import dissolve_pads, settle_pads
from mipin_ref.graph.rewrites.selections import compose_selections
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Shape


@dataclass(frozen=True)
class Canonical:
    """reached: the layers, as far down as they have inverses; aliases: file name -> surviving name of a tensor of the
    same values; folded: names whose values are gone; target_shape: see Network.
    """

    reached: Frontier
    aliases: dict[str, str]
    folded: frozenset[str]
    logits: str
    target_shape: Shape
    head: Head | None


def refuse(drafted: Drafted, failure: str | None = None) -> NoReturn:
    """Raise UnsupportedModel, naming every node without an inverse; failure: why the file cannot be run at all."""
    head = [] if drafted.logits is None else head_layers(Wiring(drafted.layers, drafted.logits, drafted.names))
    late = [
        late_problem(layer, drafted.places)
        for layer in drafted.layers
        if isinstance(layer, Softmax) and not any(layer is one for one in head)
    ]
    every = sorted([*drafted.problems, *late], key=lambda problem: problem.place)
    if failure is None:
        raise unsupported(CANNOT, every)
    size = "×".join(map(str, drafted.input_shape))
    if drafted.bound.sized:
        taken = (
            f"the network cannot take samples of {size}, which option 'input_shape' asks for (onnxruntime: {failure})"
        )
        # Of what is refused besides, what onnxruntime names is the reason; the rest would be run as it stands.
        named = [one for one in every if (name := one.label.partition(" ")[2].strip("'")) and f"'{name}'" in failure]
        raise unsupported(taken, named or every)
    raise unsupported(f"onnxruntime cannot run the file on samples of {size} ({failure}), and {CANNOT}", every)


def canonical(drafted: Drafted) -> Canonical:
    """The canonical layers of a draft: those that lead to the logits, in execution order.

    Every name that they keep holds the values that it has in the file. Raises UnsupportedModel where a node cannot be
    handled, naming all of them, and where there is nothing between input and output.
    """
    if drafted.logits is None:
        refuse(drafted)
    wiring = Wiring(list(drafted.layers), drafted.logits, drafted.names)
    wiring.drop_dead()
    # Before constants fold: they are part of what is written out, and tell a gate.
    gather_activations(wiring)
    undecided = settle_gates(wiring, drafted.places, drafted.input)
    # A Pad may meet its Conv only once the Affine between them is gone, and the other way round.
    before = None
    while before != len(wiring.layers):
        before = len(wiring.layers)
        dissolve_pads(wiring)
        fold_affines(wiring)
        join_groups(wiring)
    padded = settle_pads(wiring, drafted.places)
    head = remove_head(wiring)
    if head is None:
        refuse_mean_of_probabilities(wiring)
    settle_logarithms(wiring)
    if wiring.logits == drafted.input:
        raise UnsupportedModel("the output is the input: there is nothing to invert")
    settle_affines(wiring, drafted.dtype)
    no_attention = settle_attention(wiring, drafted.places)
    compose_selections(wiring)
    target_shape = flatten_logits(wiring)
    problems = (*drafted.problems, *undecided, *padded, *no_attention)
    reached = frontier(wiring, problems, drafted.names, drafted.input, drafted.places)
    kept = {drafted.input, *(layer.output for layer in wiring.layers)}
    aliases = {name: target for name, target in drafted.aliases.items() if target in kept}
    gone = {name for name, target in drafted.aliases.items() if target in wiring.folded}
    folded = frozenset(wiring.folded & drafted.names | gone)
    return Canonical(reached, aliases, folded, wiring.logits, target_shape, head)
