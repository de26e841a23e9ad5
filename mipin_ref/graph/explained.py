"""Which tensor is explained: the one asked for, or as far down as inverses exist."""

from __future__ import annotations

from mipin_ref.graph.feature_maps import feature_maps
from mipin_ref.graph.network import Network

AUTO = "auto"


def explained(net: Network, at: str | None) -> str:
    """The surviving name of the tensor to explain. at: a tensor of the file, "auto" (see `automatic`), None: the input,
    or where that is ids the one tensor that they look up in a table (method, section 10, fine print 7).

    Raises InvalidData where the network has no such tensor, and UnsupportedModel, listing them, where nodes without an
    inverse lie between it and the logits.
    """
    if isinstance(at, str) and at == AUTO:
        return automatic(net)
    name = net.input if at is None else net.tensor(at)
    if name == net.input and name in net.blocked and len(net.embeddings) == 1:
        return net.embeddings[0]
    if name in net.blocked:
        raise net.unreached(name, deepest(net))
    return name


def automatic(net: Network) -> str:
    """The rows of the table that ids look up, else the last feature map where the network has one, else the tensor
    furthest down that inverses reach.
    """
    if len(net.embeddings) == 1 and net.embeddings[0] not in net.blocked:
        return net.embeddings[0]
    return next((name for name in feature_maps(net) if name not in net.blocked), None) or deepest(net)


def told_of(net: Network, name: str) -> str:
    """A line on the tensor that "auto" chose, and what keeps inverses from going on where it is the last they reach."""
    if name == net.input:
        return f"explained at {name!r}, the input"
    if net.embeddings == (name,):
        return f"explained at {name!r}, the rows that {net.input!r} looks up in a table"
    if net.no_inverse and name == deepest(net):
        return f"explained at {name!r}: the nodes above it ({net.no_inverse}) have no inverse"
    return f"explained at {name!r}, the last map"


def deepest(net: Network) -> str:
    """The first tensor, in execution order, that inverses reach and that all of the input's ways to the logits pass.

    Where there is none but the logits, the first that inverses reach.
    """
    reached = _reached(net)
    return next(iter(cuts(net)), reached[0] if reached else net.input)


def cuts(net: Network) -> list[str]:
    """The tensors, in execution order, that inverses reach and that all of the input's ways to the logits pass."""
    position = {name: number for number, name in enumerate(net.shapes)}
    reached, ends, furthest = {*_reached(net)}, list[str](), 0
    for name in _moved_by(net):
        readers = [layer.output for layer in net.carriers(name)]
        if name == net.input and net.blocked:
            readers += [source for source in net.sources if source in net.carrying]
        if name in reached and furthest <= position[name]:
            ends.append(name)
        furthest = max([furthest, *(position[reader] for reader in readers)])
    return ends


def _reached(net: Network) -> list[str]:
    shown = [name for name in _moved_by(net) if name not in net.inner]
    return [name for name in shown if name not in net.blocked and name != net.logits]


def _moved_by(net: Network) -> list[str]:
    """The tensors that depend on the input and that signals come back to, in execution order."""
    return [name for name in net.shapes if name in net.moved & net.carrying or name == net.input]
