"""Algorithm 1 unrolled: which signals reconstruct each tensor, whether weights are fitted, whether it is masked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from mipin_ref.errors import InvalidData, UnsupportedModel
from mipin_ref.graph.explained import AUTO
from mipin_ref.graph.explained import explained as explained_tensor
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.divisors import restoring
from mipin_ref.inverse.options import HELD_OUT, Options
from mipin_ref.inverse.plan.common import with_common
from mipin_ref.inverse.plan.living import living, locations
from mipin_ref.inverse.plan.sharing import flattened_map
from mipin_ref.inverse.plan.steps import Branch, Plan, Step
from mipin_ref.layers import Layer
from mipin_ref.layers.kind import disjoint


def make_plan(
    net: Network,
    *,
    at: str | None,
    local: bool,
    input_mask: bool | None,
    conv_bias: bool = False,
    share_locations: bool = False,
    target: int | None = None,
) -> Plan:
    """The steps from the logits to tensor `at`, by default the network's input.

    A tensor is masked at every step (method of the paper, Eq. 9) except where the mask could change nothing: behind a
    layer that gives zero for zero, a masked output has already silenced what is zero at the input. A tensor that is
    the input reshaped or transposed counts as the input. Layers that do not lead from `at` to the logits take no part.
    share_locations: whether a Dense that reads a flattened map gets one weight per channel and output (`flattened_map`
    says what is one).
    target: an index into the logits, to which locations that do not lead are dead, and tensors without others take no
    part; None for all of them.
    Raises InvalidData where `at` is no tensor between input and logits or the target does not depend on it,
    UnsupportedModel for a layer of an unknown kind.
    """
    explained = explained_tensor(net, at)
    at = explained if isinstance(at, str) and at == AUTO else at
    if explained == net.logits:
        raise InvalidData(f"tensor {at!r} holds the logits: there is nothing between it and the target")
    between = _between(net, explained)
    if explained not in between:
        if net.logits in {layer.output for layer in net.behind(explained)}:
            raise net.state(explained)
        raise InvalidData(f"the logits do not depend on tensor {explained!r}")
    flags = living(net).of(target)
    between = {name for name in between if name == net.logits or np.any(flags[name])}
    if explained not in between:
        raise InvalidData(f"the target does not depend on tensor {explained!r}")
    is_input = _reshaped(net, net.input).union(*(_reshaped(net, name) for name in net.embeddings))
    mask_explained = input_mask if input_mask is not None else explained not in is_input
    like_explained = _reshaped(net, explained) | is_input
    positive = {layer.output for layer in net.layers if layer.mask == "positive"}
    never = {layer.output for layer in net.layers if layer.mask == "all"}
    steps, masked = [], {net.logits}
    for name in reversed([name for name in net.shapes if name in between and name != net.logits]):
        branches = _branches(net, name, between)
        wanted = local and (mask_explained if name in like_explained else name not in never)
        (first, *others) = branches
        implied = not others and name not in positive and all(x.keeps_zero and x.output in masked for x in first.layers)
        # A gate that reads a tensor alone takes none (method, section 10, fine print 1).
        gated = not others and first.layer.inverse == "own"
        intercept = (conv_bias and not gated) or any(b.layer.intercept for b in branches)
        masks = wanted and not (implied and not first.parametric)
        alive = flags[name]
        axis = _axis(net, name) if others or first.parametric or not np.all(alive) else 1
        step = Step(name, net.shapes[name], branches, intercept, masks, name in positive, axis, locations(alive, axis))
        if share_locations and step.dense:
            step = replace(step, channel_of=flattened_map(net, name, is_input))
        steps.append(step)
        if wanted:
            masked.add(name)
    if not any(step.fitted for step in steps):
        raise InvalidData(
            f"no layer with weights stands between tensor {explained!r} and the target: nothing is to be fitted"
        )
    producer = next(layer for layer in net.layers if layer.output == net.logits)
    return Plan(tuple(steps), net.logits, explained, producer.sample_rows, at)


def network_for(net: Network, options: Options) -> Network:
    """The network whose layers take signals back as options say."""
    return restoring(net) if options.norm == "sigma" else net


def plan_for(net: Network, options: Options, target: int | None) -> Plan:
    """What options ask to be fitted of a network for a target, an index into its logits. Raises as `make_plan` does."""
    plan = make_plan(
        network_for(net, options),
        at=options.at,
        local=options.local,
        input_mask=options.input_mask,
        conv_bias=options.conv_bias,
        share_locations=options.share_locations,
        target=target,
    )
    plan = replace(plan, held_out=options.ridge == HELD_OUT)
    return plan if options.common in (None, AUTO) else with_common(plan, net.tensor(options.common))


def _between(net: Network, start: str) -> set[str]:
    """The tensors on a path from `start` to the logits, both included; what enters a layer as state is on none."""
    below, above = {start}, {net.logits}
    for layer in net.layers:
        if below.intersection(_paths(layer)):
            below.add(layer.output)
    for layer in reversed(net.layers):
        if layer.output in above:
            above.update(_paths(layer))
    return below & above


def _axis(net: Network, name: str) -> int:
    """The axis of a tensor's channels (method, section 10): as its readers say, else those near it; else the first.

    Raises UnsupportedModel where readers disagree.
    """
    if len(net.shapes[name]) < 2:
        return 1
    told = {layer.channels: layer for layer, _ in net.consumers[name] if layer.channels is not None}
    if len(told) > 1:
        (one, first), (other, second), *_ = told.items()
        raise UnsupportedModel(
            f"the readers of tensor {name!r} disagree on its channels: {first.kind} {first.name!r} has them on axis "
            f"{one}, {second.kind} {second.name!r} on axis {other}; explain a tensor behind it"
        )
    return next(iter(told), None) or net.told_axis(name) or 1


def _paths(layer: Layer) -> list[str]:
    """The inputs that signals come back to."""
    return [layer.inputs[slot] for slot in layer.paths]


def _reshaped(net: Network, start: str) -> set[str]:
    """`start` and every tensor that holds the same values in another shape or order."""
    same = {start}
    for layer in net.layers:
        if layer.rearranges and layer.input in same:
            same.add(layer.output)
    return same


def _branches(net: Network, name: str, between: Collection[str]) -> tuple[Branch, ...]:
    readers = [(layer, slot) for layer, slot in net.consumers[name] if layer.output in between and slot in layer.paths]
    slices = [layer for layer, _ in readers if layer.cut is not None]
    together = disjoint([layer.cut for layer in slices if layer.cut is not None])
    branches = []
    for layer, slot in readers:
        if together and layer.cut is not None:
            if layer is slices[0]:
                branches.append(Branch(tuple(slices), 0))
        else:
            branches.append(Branch((layer,), slot))
    return tuple(branches)
