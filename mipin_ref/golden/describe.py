"""A network and its plan as plain records of a manifest: all that a reader needs to compute without the ONNX file."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mipin_ref.graph.network import Network
from mipin_ref.inverse.plan import Plan
from mipin_ref.inverse.report import Report
from mipin_ref.layers import HostArray
from mipin_ref.window import Window

Keep = Callable[[str, HostArray], str | None]
"""Stores an array under a name and returns the name that it is read by; None where it is left out."""


def describe_layers(net: Network, keep: Keep) -> list[dict[str, Any]]:
    """The field `layers`."""
    layers = []
    for number, layer in enumerate(net.layers):
        kept = {name: keep(f"layer/{number}/{name}", value) for name, value in layer.arrays.items()}
        layers.append(
            {
                "kind": layer.kind,
                "name": layer.name,
                "inputs": list(layer.inputs),
                "output": layer.output,
                "in_shapes": [list(shape) for shape in layer.in_shapes],
                "out_shape": list(layer.out_shape),
                "parameters": kept,
                **{name: _plain(value) for name, value in layer.details().items()},
            }
        )
    return layers


def _plain(value: Any) -> Any:
    """A detail of a layer as JSON has it."""
    if isinstance(value, Window):
        names = ("kernel", "strides", "begin", "end", "dilations")
        return {name: [int(n) for n in getattr(value, name)] for name in names}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else _number(value)


def _number(value: Any) -> Any:
    """JSON has no infinity."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def describe_steps(net: Network, plan: Plan, report: Report, stored: dict[str, str]) -> list[dict[str, Any]]:
    """The field `steps`. stored: names in the solve stage, of the blocks of weights that the case holds."""
    number = {layer.output: i for i, layer in enumerate(net.layers)}
    records = []
    for step in plan.steps:
        names = [f"solve/weight/{step.tensor}/{i}" if step.fitted else "" for i in range(len(step.branches))]
        record: dict[str, Any] = {
            "tensor": step.tensor,
            "shape": list(step.shape),
            "branches": [
                {
                    "layers": [number[layer.output] for layer in branch.layers],
                    "slot": branch.slot,
                    "weight": name if name in stored else None,
                }
                for branch, name in zip(step.branches, names, strict=True)
            ],
            "fitted": step.fitted,
            "intercept": step.fitted and step.intercept,
            "column": plan.is_column(step),
            "mask": step.mask,
        }
        if step.mask and step.positive:
            record["positive"] = True
        if step.axis != 1:
            record["axis"] = step.axis
        if step.channel_of is not None:
            record["channel_of"] = [int(channel) for channel in step.channel_of]
        if step.rows is not None:
            record["alive"] = list(step.rows)
        if step.fitted:
            row = report[step.tensor]
            record |= {
                "rows": row.rows,
                "unknowns": row.unknowns,
                "condition": _number(row.condition),
                "rank": row.rank,
                "solver": row.solver,
            }
            if row.ridge is not None:
                record["ridge"] = row.ridge
        records.append(record)
    return records
