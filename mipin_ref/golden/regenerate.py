"""Compute a case anew with the engine, each stage from the golden values of the stages before it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.golden.build import fit_rows
from mipin_ref.golden.case import Case, read_case
from mipin_ref.golden.compare import Verification, verify
from mipin_ref.golden.describe import describe_layers, describe_steps
from mipin_ref.golden.material import recorded
from mipin_ref.golden.reread import reread
from mipin_ref.golden.stages import STAGES
from mipin_ref.graph.load import load
from mipin_ref.graph.network import Network
from mipin_ref.inverse.fit import fit
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.plan import network_for
from mipin_ref.reading import decoding


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
    golden, asked = reread(case, net), network_for(net, inverse.options)
    fresh = recorded(asked, inverse.plan, inverse.target, x)
    _check_lasting(case, net, inverse)
    if not np.array_equal(golden.rows, fit_rows(fresh, inverse, labels)):
        raise CorruptFile(f"the rows of {str(folder)!r} are not those that its options select")
    names = {tensor.name for tensor in case.tensors}
    anew = {name: value for stage in STAGES for name, value in stage.remade(golden, fresh, inverse)}
    return verify(case, {name: value for name, value in anew.items() if name in names})


def _check_lasting(case: Case, net: Network, inverse: Inverse) -> None:
    """The network and the plan of the inverse are those of the manifest."""
    made = {
        "layers": describe_layers(net, lambda name, value: name),
        "steps": describe_steps(net, inverse.plan, inverse.report, case.array_names),
    }
    for part, records in made.items():
        if json.loads(json.dumps(_lasting(records))) != _lasting(case.manifest[part]):
            raise CorruptFile(f"the {part} of {str(case.folder)!r} are not those of its model and options")


def _lasting(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without what rounding decides, and the names of arrays."""
    left_out = ("condition", "rank", "solver", "parameters")
    return [{name: value for name, value in record.items() if name not in left_out} for record in records]
