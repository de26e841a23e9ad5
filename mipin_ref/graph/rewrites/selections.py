"""Selections in a row become one, where nothing else reads the tensors between (method, section 10)."""

from __future__ import annotations

from mipin_ref.graph.picks import one_after_another, selection
from mipin_ref.graph.rewrites.wiring import Wiring
from mipin_ref.layers import Gather, Slice


def compose_selections(wiring: Wiring) -> None:
    """Take a selection that only another one reads into that one: of several copies only those that remain count."""
    for name in [layer.output for layer in wiring.layers if isinstance(layer, Slice | Gather)]:
        later = wiring.maker(name)
        while isinstance(later, Slice | Gather) and (first := _before(wiring, later)) is not None:
            picks = one_after_another(first.picks, later.picks)
            whole = selection(later.name, first.input, later.output, first.in_shape, picks, crops=first.crops)
            if whole is None:
                break
            wiring.take_out(first.output)
            wiring.replace(whole)
            later = whole


def _before(wiring: Wiring, later: Slice | Gather) -> Slice | Gather | None:
    """The selection whose output nothing but `later` reads."""
    first = wiring.maker(later.input)
    alone = wiring.sole_reader(later.input) is later and wiring.logits != later.input
    # What a negative Pad leaves out counts as read, what a selection leaves out does not.
    return first if isinstance(first, Slice | Gather) and alone and first.crops == later.crops else None
