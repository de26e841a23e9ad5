"""Draft layers -> canonical layers: paddings and constants dissolve into neighbours, the final Softmax goes."""

from __future__ import annotations

from dataclasses import dataclass

from mipin_ref.errors import UnsupportedModel
from mipin_ref.graph.draft import Softmax
from mipin_ref.graph.read import Read
from mipin_ref.graph.rewrites.affines import fold_affines, settle_affines
from mipin_ref.graph.rewrites.pads import dissolve_pads
from mipin_ref.graph.rewrites.softmax import final_softmax, flatten_logits, remove_softmax
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.graph.two_class import OP as TWO_CLASS
from mipin_ref.layers import Layer, Wired


@dataclass(frozen=True)
class Canonical:
    """aliases: file name -> surviving name of a tensor of the same values; folded: names whose values are gone."""

    layers: tuple[Layer, ...]
    aliases: dict[str, str]
    folded: frozenset[str]
    logits: str
    removed_softmax: str | None


def canonical(found: Read) -> Canonical:
    """The canonical layers of a draft: those that lead to the logits, in execution order.

    Every name that they keep holds the values that it has in the file. Raises UnsupportedModel where a node cannot be
    handled, naming all of them, and where there is nothing between input and output.
    """
    if found.problems:
        raise UnsupportedModel(CANNOT, [*found.problems, *_misplaced(found.layers, _end(found))])
    assert found.logits is not None
    wiring = Wiring(list(found.layers), found.logits, found.names)
    wiring.drop_dead()
    # A Pad may meet its Conv only once the Affine between them is gone, and the other way round.
    before = None
    while before != len(wiring.layers):
        before = len(wiring.layers)
        dissolve_pads(wiring)
        fold_affines(wiring)
    removed = remove_softmax(wiring)
    left = _misplaced(wiring.layers, None)
    if left:
        raise UnsupportedModel(CANNOT, left)
    if wiring.logits == found.input:
        raise UnsupportedModel("the output is the input: there is nothing to invert")
    settle_affines(wiring, found.dtype)
    flatten_logits(wiring)
    kept = {found.input, *(layer.output for layer in wiring.layers)}
    aliases = {name: target for name, target in found.aliases.items() if target in kept}
    gone = {name for name, target in found.aliases.items() if target in wiring.folded}
    folded = frozenset(wiring.folded & found.names | gone)
    return Canonical(_settled(wiring.layers), aliases, folded, wiring.logits, removed)


def _settled(layers: list[Wired]) -> tuple[Layer, ...]:
    """The layers, all of which are of a kind that answers what is asked of it."""
    settled = tuple(layer for layer in layers if isinstance(layer, Layer))
    if len(settled) < len(layers):
        raise UnsupportedModel(CANNOT, [f"{one.name!r} (no kind of layer)" for one in layers if one not in settled])
    return settled


CANNOT = "the network has nodes that cannot be inverted"


def _end(found: Read) -> Softmax | None:
    return None if found.logits is None else final_softmax(Wiring(found.layers, found.logits, found.names))


def _misplaced(layers: list[Wired] | tuple[Wired, ...], final: Softmax | None) -> list[str]:
    return [
        f"{layer.function} {layer.name!r} ({_why_misplaced(layer)})"
        for layer in layers
        if isinstance(layer, Softmax) and layer is not final
    ]


def _why_misplaced(softmax: Softmax) -> str:
    if softmax.function == TWO_CLASS:
        return "two classes are read only at the end, from one output of a dense layer"
    return "before the end it is no element-wise activation"
