"""A case on disk as the golden values that it was made from."""

from __future__ import annotations

import numpy as np

from mipin_ref.errors import CorruptFile
from mipin_ref.golden.case import SOURCE, Case
from mipin_ref.golden.material import Material, pools
from mipin_ref.golden.regression import Inverted
from mipin_ref.golden.values import Golden
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.plan import network_for, plan_for


def asked(case: Case) -> int | tuple[int, ...]:
    """The target of a case, as `make` was asked for it."""
    told = case.manifest["model"].get("target", case.manifest["options"]["target"])
    return tuple(told) if isinstance(told, list) else told


def reread(case: Case, net: Network) -> Golden:
    """The golden values of a case on disk, as `make` had them; blocks of weights that it left out are fitted again.

    net: the whole network of the case's model.
    """
    options, arrays, names = case.manifest["options"], case.arrays, case.array_names
    net, target = facing(net, net.check_target(asked(case)))
    told = Options(**{name: value for name, value in options.items() if name != "target"})
    net = network_for(net, told)
    plan = plan_for(net, told, target)
    x, rows = case.given("x"), case.given("rows")
    if x is None or rows is None:
        raise CorruptFile(f"the case in {str(case.folder)!r} has no samples, or does not say which of them count")
    starts = {name: case.given(SOURCE + name) for name in net.sources}
    missing = [name for name, value in starts.items() if value is None]
    if missing:
        raise CorruptFile(f"the case in {str(case.folder)!r} has no values of {missing[0]!r}, which layers start from")
    values = {net.input: x} | {name: value for name, value in starts.items() if value is not None}
    values |= {layer.output: arrays[names[f"forward/value/{layer.output}"]] for layer in net.layers}
    switches = {layer.output: arrays[names[f"forward/switch/{layer.output}"]] for layer in pools(net)}
    material = Material(net, plan, target, values, switches)
    tensors = [plan.logits, *(step.tensor for step in plan.steps)]
    s, a = ({name: arrays[names[f"propagate/{kind}/{name}"]] for name in tensors} for kind in "SA")
    chosen = rows.astype(np.bool_)
    steps = {record["tensor"]: record for record in case.manifest["steps"]}
    ridges = {step.tensor: steps[step.tensor].get("ridge", options["ridge"]) for step in plan.fitted}
    for tensor, ridge in ridges.items():
        if isinstance(ridge, str):
            raise CorruptFile(f"the case in {str(case.folder)!r} does not say which ridge was picked for {tensor!r}")
    inverted = {}
    for step in plan.fitted:
        stored = [names.get(f"solve/weight/{step.tensor}/{i}") for i in range(len(step.branches))]
        blocks = [arrays[name] for name in stored if name is not None]
        if len(blocks) < len(stored):
            inverted[step.tensor] = material.invert(step, s, chosen, ridges[step.tensor])
            continue
        intercept = arrays[names[f"solve/intercept/{step.tensor}"]] if step.intercept else None
        inverted[step.tensor] = Inverted(tuple(blocks), intercept, 1.0, 0)
    named = {name: arrays[array] for name, array in names.items()}
    return Golden(material, s, a, inverted, chosen, ridges, named)
