"""Draft layers -> canonical layers: paddings and constants dissolve into neighbours, the head goes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.draft import Log, Softmax
from mipin_ref.graph.head import Head
from mipin_ref.graph.read import Drafted
from mipin_ref.graph.rewrites.affines import fold_affines, settle_affines
from mipin_ref.graph.rewrites.head import flatten_logits, head_layers, remove_head
from mipin_ref.graph.rewrites.pads import dissolve_pads
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Layer, Wired


@dataclass(frozen=True)
class Canonical:
    """aliases: file name -> surviving name of a tensor of the same values; folded: names whose values are gone."""

    layers: tuple[Layer, ...]
    aliases: dict[str, str]
    folded: frozenset[str]
    logits: str
    head: Head | None


def canonical(drafted: Drafted) -> Canonical:
    """The canonical layers of a draft: those that lead to the logits, in execution order.

    Every name that they keep holds the values that it has in the file. Raises UnsupportedModel where a node cannot be
    handled, naming all of them, and where there is nothing between input and output.
    """
    if drafted.problems:
        raise UnsupportedModel(CANNOT, [*drafted.problems, *_misplaced(drafted.layers, _head(drafted))])
    assert drafted.logits is not None
    wiring = Wiring(list(drafted.layers), drafted.logits, drafted.names)
    wiring.drop_dead()
    # A Pad may meet its Conv only once the Affine between them is gone, and the other way round.
    before = None
    while before != len(wiring.layers):
        before = len(wiring.layers)
        dissolve_pads(wiring)
        fold_affines(wiring)
    head = remove_head(wiring)
    left = _misplaced(wiring.layers, ())
    if left:
        raise UnsupportedModel(CANNOT, left)
    if wiring.logits == drafted.input:
        raise UnsupportedModel("the output is the input: there is nothing to invert")
    settle_affines(wiring, drafted.dtype)
    flatten_logits(wiring)
    kept = {drafted.input, *(layer.output for layer in wiring.layers)}
    aliases = {name: target for name, target in drafted.aliases.items() if target in kept}
    gone = {name for name, target in drafted.aliases.items() if target in wiring.folded}
    folded = frozenset(wiring.folded & drafted.names | gone)
    return Canonical(settled(wiring.layers), aliases, folded, wiring.logits, head)


def settled(layers: list[Wired]) -> tuple[Layer, ...]:
    """The layers, all of which are of a kind that answers what is asked of it."""
    settled = tuple(layer for layer in layers if isinstance(layer, Layer))
    if len(settled) < len(layers):
        raise UnsupportedModel(CANNOT, [f"{one.name!r} (no kind of layer)" for one in layers if one not in settled])
    return settled


CANNOT = "the network has nodes that cannot be inverted"


def _head(drafted: Drafted) -> list[Wired]:
    return [] if drafted.logits is None else head_layers(Wiring(drafted.layers, drafted.logits, drafted.names))


def _misplaced(layers: Iterable[Wired], head: Collection[Wired]) -> list[str]:
    """One entry a layer that only a head has, and that is in none."""
    return [
        f"{layer.kind if isinstance(layer, Log) else layer.function} {layer.name!r} ({_why_misplaced(layer)})"
        for layer in layers
        if isinstance(layer, Softmax | Log) and not any(layer is one for one in head)
    ]


def _why_misplaced(layer: Softmax | Log) -> str:
    if isinstance(layer, Log):
        return "before the end, where it belongs to no head, no inverse is known for this operator"
    return "before the end it is no element-wise activation"
