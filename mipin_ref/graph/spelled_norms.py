"""Normalisations that a file writes out in several nodes, whatever the spelling.

Each tensor is known by what it is of the tensor that is normalised: its mean, what is left without that, a sum of
squares, the divisor. A table says what each operator makes of these; the node that divides is the normalisation, and
the nodes before it are none of the network's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mipin_ref.graph.draft import Draft, Refused
from mipin_ref.graph.node import Node
from mipin_ref.graph.norm_rules import RULES
from mipin_ref.graph.ops.norm import add_norm, inside
from mipin_ref.graph.ops.per_channel import per_sample
from mipin_ref.graph.spelled import Spelled

UNKNOWN = object()
MOST_NODES = 24
"""Parts of a divisor that is written out."""

PASSING = ("Identity", "Cast", "Dropout")
UNRECOGNISED = (
    "it divides by a root of a mean or sum of squares, as a LayerNorm, a GroupNorm, an RMSNorm or an L2 normalisation "
    "does, and which of these it is could not be told"
)


def spelled(node: Node, draft: Draft) -> bool:
    """Note what a node makes of a tensor that may be normalised, and draft the normalisation where it ends here.

    Returns whether it did. Refused, in one sentence for all of its nodes, where it is one that is not recognised.
    """
    if not node.standard or not node.outputs:
        return False
    names = node.inputs
    if node.op in PASSING and names[:1]:
        known = draft.spelled.get(names[0])
        if known is not None:
            draft.spelled[node.outputs[0]] = replace(known, nodes=known.nodes | {node.outputs[0]})
        return False
    rule = RULES.get(node.op)
    if rule is None or not any(name in draft.signals or name in draft.spelled for name in names):
        return False
    for operands in _readings(names, draft):
        made = rule(node, draft, operands)
        if made is not None:
            nodes = frozenset(one for part in operands if isinstance(part, Spelled) for one in part.nodes)
            made = replace(made, nodes=nodes | {node.outputs[0]})
            if made.what != "normed":
                draft.spelled[node.outputs[0]] = made
                return False
            _draft(node, draft, made)
            return True
    sources = unrecognised(node, draft)
    if sources:
        # Not taken for a gate either: that has another inverse.
        raise Refused(UNRECOGNISED, reads=sources)
    return False


def _readings(names: Sequence[str], draft: Draft) -> list[list[Any]]:
    """What the operands may be taken for: what they are known as, else tensors that are normalised themselves.

    An operand that is left out is None.
    """
    known: list[Any] = []
    plain: list[Any] = []
    for name in names:
        signal = draft.signals.get(name)
        itself = Spelled(signal) if signal is not None and signal.floating else UNKNOWN
        if not name or name in draft.constants:
            itself = draft.constants[name] if name else None
        known.append(draft.spelled.get(name, itself))
        plain.append(itself)
    # x - mean where x is itself known as something, or x / divisor.
    mixed = [[plain[0], *known[1:]], [known[0], *plain[1:]]] if len(names) > 1 else []
    return [one for one in (known, *mixed, plain) if not any(part is UNKNOWN for part in one)]


def _draft(node: Node, draft: Draft, made: Spelled) -> None:
    draft.absorbed |= made.nodes
    try:
        over = inside(sorted(made.over), made.of)
    except Refused as reason:
        raise Refused(str(reason), reads=(made.of.name,)) from None
    scale, shift = (None if one is None else per_sample(one, made.of) for one in (made.scale, made.shift))
    add_norm(node, draft, made.of, over, made.divisor, centred=made.centred, scale=scale, shift=shift)


def unrecognised(node: Node, draft: Draft) -> tuple[str, ...]:
    """The tensors that a node normalises in a spelling that is not known; none where it does no such thing.

    The nodes that compute its divisor are then told with it.
    """
    if not node.standard or node.op not in ("Div", "Mul") or len(node.inputs) != 2:
        return ()
    for divisor, other in (node.inputs[::-1], node.inputs):
        found = _statistic(divisor, draft)
        if found is not None:
            sources, nodes = found
            centred = draft.makers.get(other)
            if centred is not None and centred.op == "Sub" and centred.inputs[0] in sources:
                nodes.add(other)
            elif other not in sources:
                continue
            draft.absorbed |= nodes
            return tuple(dict.fromkeys(draft.signals[name].name for name in sources if name in draft.signals))
    return ()


def _statistic(tensor: str, draft: Draft) -> tuple[set[str], set[str]] | None:
    """The tensors whose squares a divisor is the root of, and what lies between; None where it is no such thing."""
    nodes, sources, stack, rooted = set[str](), set[str](), [tensor], False
    while stack:
        name = stack.pop()
        maker = draft.makers.get(name)
        if name in draft.constants or name in nodes:
            continue
        if maker is None or len(nodes) > MOST_NODES or maker.op not in (*RULES, *PASSING):
            return None
        nodes.update(maker.outputs)
        rooted = rooted or maker.op in ("Sqrt", "ReduceL2", "Pow")
        if not maker.op.startswith(("Reduce", "Global")):
            stack += [one for one in maker.inputs if one]
            continue
        square = draft.makers.get(maker.inputs[0])
        inner = maker.inputs[0]
        if square is not None and square.op in ("Mul", "Pow", "Abs"):
            nodes.update(square.outputs)
            inner = square.inputs[0]
        centred = draft.makers.get(inner)
        if centred is not None and centred.op == "Sub":
            nodes.update(centred.outputs)
            mean = draft.makers.get(centred.inputs[1])
            nodes.update(mean.outputs if mean is not None and mean.op.startswith(("Reduce", "Global")) else ())
            inner = centred.inputs[0]
        sources.add(inner)
    return (sources, nodes) if rooted and sources else None
