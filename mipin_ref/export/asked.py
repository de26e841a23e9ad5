"""What is exported: one inverse, or those of several targets of one network, checked to belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mipin_ref.data import Preprocessing
from mipin_ref.display import OneLine
from mipin_ref.errors import InvalidData, UnsupportedModel, shown
from mipin_ref.graph.merged import refusal
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.plan import Plan, Step

MOST_TARGETS = 1 << 16


@dataclass(frozen=True, eq=False)
class Asked(OneLine):
    """inverses: of the targets, in their order; tensor: that is explained; steps: from the logits down to it; net: the
    network; part: of it what the targets face, which ends at a tensor of which they are entries; places: their indices
    there.
    """

    inverses: tuple[Inverse, ...]
    tensor: str
    steps: tuple[Step, ...]
    net: Network
    part: Network
    places: tuple[int, ...]

    @property
    def plan(self) -> Plan:
        return self.inverses[0].plan

    @property
    def targets(self) -> tuple[int, ...]:
        """Indices into the logits."""
        return tuple(one.target for one in self.inverses)

    @property
    def preprocessing(self) -> Preprocessing | None:
        return self.inverses[0].preprocessing


def asked(given: Any, at: str | None, targets: Any) -> Asked:
    """What `export` is asked for. Raises InvalidData and UnsupportedModel as it does."""
    inverses = _chosen(_listed(given), targets)
    first = inverses[0]
    for other in inverses[1:]:
        _alike(first, other)
    told = [one.target for one in inverses]
    if len({*told}) < len(told):
        raise InvalidData("export: two inverses are of one target; give one of each")
    tensor = first.plan.explained if at is None else first._tensor(at)
    steps, _ = first.plan.path([tensor])
    _refuse(steps)
    if (why := refusal(first.net)) is not None:
        raise UnsupportedModel(f"the network cannot be written into an explainer: {why}")
    faced = [facing(one.net, one.target) for one in inverses]
    return Asked(tuple(inverses), tensor, steps, first.net, faced[0][0], tuple(place for _, place in faced))


def _listed(given: Any) -> list[Inverse]:
    if isinstance(given, Inverse):
        return [given]
    some = given.values() if isinstance(given, Mapping) else given
    if (
        not isinstance(given, Mapping | Sequence)
        or isinstance(given, str | bytes)
        or not 0 < len(given) <= MOST_TARGETS
    ):
        raise InvalidData(f"export: needs an inverse, or several of one network, not {shown(given)}")
    inverses = list(some)
    for one in inverses:
        if not isinstance(one, Inverse):
            raise InvalidData(f"export: needs an inverse, or several of one network, not {shown(one)} among them")
    return inverses


def _chosen(inverses: list[Inverse], targets: Any) -> list[Inverse]:
    if targets is None:
        return inverses
    asked = targets if isinstance(targets, list) else [targets]
    by_index = {one.target: one for one in inverses}
    found = []
    for target in asked:
        index = inverses[0].net.check_target(target)
        if index not in by_index:
            raise InvalidData(f"export: there is no inverse of target {shown(target)} among those given; fit one")
        found.append(by_index[index])
    if not found:
        raise InvalidData("export: option 'targets' names none")
    return found


def _alike(first: Inverse, other: Inverse) -> None:
    """Raises InvalidData where two inverses cannot stand in one file, and says by what they differ."""
    if (first.net.sha256, first.net.logits) != (other.net.sha256, other.net.logits):
        raise InvalidData("export: the inverses are of different models or outputs; export each network by itself")
    if first.plan.explained != other.plan.explained:
        raise InvalidData(
            f"export: the inverses explain different tensors, {first.plan.explained!r} and {other.plan.explained!r}; "
            "give option 'at' when they are fitted, or export them apart"
        )
    if first.options != other.options:
        raise InvalidData(
            "export: the inverses were fitted with different options; fit them alike, or export them apart"
        )
    one, two = first.preprocessing, other.preprocessing
    if (one is None) != (two is None) or (one is not None and two is not None and not one.does_as(two)):
        raise InvalidData("export: the inverses were fitted on data of different preprocessing; fit them alike")
    one_way, other_way = ([plan.logits, *(step.tensor for step in plan.steps)] for plan in (first.plan, other.plan))
    if one_way != other_way:
        raise InvalidData(
            f"export: targets {first.net.target(first.target)} and {first.net.target(other.target)} depend on "
            "different tensors of the network; export them apart"
        )


def _refuse(steps: Sequence[Step]) -> None:
    """Raises UnsupportedModel for layers whose way back cannot be written, naming every one."""
    layers = {layer.output: layer for step in steps for layer in step.layers}
    refused = [(layer, layer.no_way_back) for layer in layers.values() if layer.no_way_back is not None]
    if refused:
        nodes = [f"{layer.kind} {layer.name!r} ({why})" for layer, why in refused]
        raise UnsupportedModel(
            "the way back through these layers cannot be written as ONNX; explain a tensor in front of them, option "
            f"'at': {', '.join(nodes[:8])}" + (f" and {len(nodes) - 8} more" if len(nodes) > 8 else ""),
            nodes,
        )
