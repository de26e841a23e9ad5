"""Compute a case anew with the engine, each stage from the golden values of the stages before it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mipin_ref.backend import get_backend
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.golden.build import fit_rows
from mipin_ref.golden.case import Case, read_case
from mipin_ref.golden.causes import reread
from mipin_ref.golden.compare import Verification, verify
from mipin_ref.golden.describe import describe_layers, describe_steps
from mipin_ref.golden.material import Material, pools, recorded
from mipin_ref.golden.perturb import Golden, signals, solved
from mipin_ref.golden.regression import Array, Inverted
from mipin_ref.graph.load import load
from mipin_ref.graph.network import Network
from mipin_ref.inverse.fit import fit
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.passes.problem import Problem
from mipin_ref.inverse.plan import Step
from mipin_ref.reading import decoding

Found = Iterator[tuple[str, Array]]


def remake(folder: str | Path) -> Verification:
    """Compute a case anew, from its model, samples and options, and compare with what it holds.

    Raises InvalidData where its model is missing, CorruptFile where layers, steps or rows are not those of the
    manifest, and as `make` does.
    """
    case = read_case(folder)
    if not case.model.is_file():
        raise InvalidData(f"there is no model {str(case.model)!r} to make the case of")
    net, x, labels = load(case.model, output=case.manifest["model"]["output"]), case.given("x"), case.given("labels")
    if x is None:
        raise CorruptFile(f"the case in {str(folder)!r} has no samples")
    with decoding(case.folder, f"a case of the network {case.model.name}"):
        options = dict(case.manifest["options"])
        inverse = fit(net, x, options.pop("target"), labels=labels, **options)
    golden, fresh = reread(case, net), recorded(net, inverse.plan, inverse.target, x)
    _check_lasting(case, net, inverse)
    if not np.array_equal(golden.rows, fit_rows(fresh, inverse, labels)):
        raise CorruptFile(f"the rows of {str(folder)!r} are not those that its options select")
    names = {tensor.name for tensor in case.tensors}
    stages = (_forward(fresh), _solve(golden), _propagate(case, golden), _end(inverse, x))
    found = {name: value for stage in stages for name, value in stage}
    return verify(case, {name: value for name, value in found.items() if name in names})


def _forward(fresh: Material) -> Found:
    for layer in fresh.net.layers:
        yield f"forward/value/{layer.output}", fresh.values[layer.output]
    for layer in pools(fresh.net):
        yield f"forward/switch/{layer.output}", fresh.switches[layer.output]
    for step in fresh.plan.steps:
        if step.mask:
            yield f"forward/mask/{step.tensor}", fresh.values[step.tensor] != 0


def _solve(golden: Golden) -> Found:
    for step in golden.material.plan.fitted:
        yield from solved(golden.material, step.tensor, _fitted(golden, step), golden.s, golden.a)


def _fitted(golden: Golden, step: Step) -> Inverted:
    """By the engine's own sums and solver."""
    material, rows = golden.material, golden.rows
    sums = Problem(get_backend(), step, material.plan.is_column(step), int(rows.sum())).sums()
    above = {name: signal[rows] for name, signal in material.read(step, golden.s).items()}
    taps = {name: chosen[rows] for name, chosen in material.taps.items()}
    sums.update(above, taps, material.values[step.tensor][rows].astype(np.float64))
    weights, _ = sums.solve(golden.ridge)
    return Inverted(weights.blocks, weights.intercept, 1.0, 0)


def _propagate(case: Case, golden: Golden) -> Found:
    plan = golden.material.plan
    left_out = {
        step["tensor"]
        for step in case.manifest["steps"]
        if step["fitted"] and any(branch["weight"] is None for branch in step["branches"])
    }
    s = {plan.logits: golden.material.placed_seed()}
    a = dict(s)
    yield from signals(plan.logits, s, a)
    for step in plan.steps:
        if step.tensor in left_out:
            s[step.tensor], a[step.tensor] = golden.s[step.tensor], golden.a[step.tensor]
        else:
            golden.material.descend(step, golden.inverted.get(step.tensor), s, a)
        yield from signals(step.tensor, s, a)


def _end(inverse: Inverse, x: Array) -> Found:
    found = inverse.attribute(x)
    yield "end/output", found.output
    yield "end/S", found.source
    yield "end/A", found.attribution


def _check_lasting(case: Case, net: Network, inverse: Inverse) -> None:
    """The network and the plan of the inverse are those of the manifest."""
    stored = {tensor.name: tensor.array for tensor in case.tensors}
    made = {
        "layers": describe_layers(net, lambda name, value: name),
        "steps": describe_steps(net, inverse.plan, inverse.report, stored),
    }
    for part, records in made.items():
        if json.loads(json.dumps(_lasting(records))) != _lasting(case.manifest[part]):
            raise CorruptFile(f"the {part} of {str(case.folder)!r} are not those of its model and options")


def _lasting(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without what rounding decides, and the names of arrays."""
    left_out = ("condition", "rank", "solver", "parameters")
    return [{name: value for name, value in record.items() if name not in left_out} for record in records]
