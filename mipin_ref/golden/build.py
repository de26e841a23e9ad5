"""Make a golden case: fit, record every stage, derive the tolerances, write it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mipin_ref import store
from mipin_ref.data import as_samples
from mipin_ref.errors import MipinError
from mipin_ref.files import check_folder
from mipin_ref.golden.case import ARRAYS, KIND, MANIFEST, SOURCE, Case, read_case, write_case
from mipin_ref.golden.describe import describe_layers, describe_steps
from mipin_ref.golden.material import Material, recorded
from mipin_ref.golden.perturb import DTYPES, FLOOR, HOPELESS, RECIPE, RUNS, SAFETY, SEEDS, changes, tolerance
from mipin_ref.golden.regression import Inverted
from mipin_ref.golden.stages import STAGES, Stage
from mipin_ref.golden.stages.stage import what
from mipin_ref.golden.values import Golden
from mipin_ref.graph.load import load
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.fit import checked_labels, fit
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.options import DEFAULTS, Ridge
from mipin_ref.inverse.plan import network_for
from mipin_ref.layers import HostArray
from mipin_ref.progress import Advance, progress_bar
from mipin_ref.reading import path_of

LATER = ("norm", "common", "share_locations")
"""Options that came after the first cases: a manifest tells them where they are not the default.

A case is of one target, whose fit it writes out; what is fitted on signals of other targets has none, so that `common`
is always the default.
"""

PARAMETER_LIMIT = 2 << 20
"""Bytes above which a parameter of the network or a block of weights is left out of a case."""


def make(
    model: str | Path,
    x: Any,
    target: int | tuple[int, ...],
    folder: str | Path,
    *,
    labels: Any = None,
    output: str | None = None,
    ridge: Ridge = 1e-3,
    conv_bias: bool = False,
    at: str | None = None,
    input_mask: bool | None = None,
    local: bool = True,
    fit_on: Literal["all", "target_class"] = "all",
    norm: Literal["affine", "sigma"] = "affine",
    share_locations: bool = False,
    progress: bool = False,
) -> Case:
    """Write the golden values of one target of a model into a folder, and return them.

    model: path of the ONNX file, which the manifest names relative to the folder; target: a class, or a tuple of
    indices where the output has more axes; x: few samples [N, *input_shape],
    which are calibration set and explained samples at once; labels: [N]; the other options as in `fit`, in float64;
    progress: show bars on a terminal.
    Everything is kept and every fit is written out a row a location, so that this is for small samples.
    Raises InvalidData as `fit` does, where the folder cannot be written (before anything is computed), where rows take
    too much memory, and where the engine does not agree with the fit written out; CorruptFile, UnsupportedModel as
    `load` does.

    >>> import mipin_ref as mr
    >>> folder = next(folder for folder in mr.golden.cases() if folder.parent.name == "golden_mlp")
    >>> case = mr.golden.read_case(folder)
    >>> made = mr.golden.make(case.model, case.given("x"), target=0, folder="golden-of-class-0")
    >>> len(made.tensors) == len(case.tensors)
    True
    """
    path_of(model, "the model of a case")
    folder = path_of(folder, "a case")
    check_folder(folder, (MANIFEST, ARRAYS))
    net = load(model, output=output)
    index = net.check_target(target)
    data = as_samples(x, whole=net.whole)
    batch = np.ascontiguousarray(data[0 : len(data)])
    known = checked_labels(labels, len(data), net)
    inverse = fit(
        net,
        batch,
        net.target(index),
        labels=known,
        ridge=ridge,
        conv_bias=conv_bias,
        at=at,
        input_mask=input_mask,
        local=local,
        fit_on=fit_on,
        norm=norm,
        share_locations=share_locations,
        progress=progress,
    )
    part, place = facing(net, index)
    material = recorded(network_for(part, inverse.options), inverse.plan, place, batch)
    golden = golden_values(material, inverse, fit_rows(material, inverse, known))
    with progress_bar(progress) as start:
        _agree(golden, start("the fit written out", len(inverse.plan.fitted)))
        advance = start("tolerances", RUNS * len(DTYPES))
        moved = {dtype: changes(golden, dtype, advance) for dtype in DTYPES}
    book = _Book(golden, moved)
    file = os.path.relpath(Path(model).resolve(), folder.resolve())
    write_case(folder, book.manifest(Path(file).as_posix(), inverse, known), book.arrays)
    return read_case(folder)


def fit_rows(material: Material, inverse: Inverse, labels: HostArray | None) -> HostArray:
    """Which samples the fit uses, [N] bool."""
    if inverse.options.fit_on == "all":
        return np.ones(material.samples, np.bool_)
    if labels is not None:
        return np.asarray(labels == inverse.target)
    return np.asarray(material.values[material.net.logits].argmax(axis=-1) == material.target).reshape(-1)


def golden_values(material: Material, inverse: Inverse, rows: HostArray) -> Golden:
    """All stages as the engine computes them. rows: [N] bool, the samples of the fit."""
    net, plan = material.net, material.plan
    x = material.values[net.input]
    results = inverse.attribute(x, at=[step.tensor for step in plan.steps], batch_size=len(x))
    s = {plan.logits: material.placed_seed()} | {name: res.source for name, res in results.items()}
    a = {plan.logits: s[plan.logits]} | {name: res.attribution for name, res in results.items()}
    inverted, ridges = {}, {}
    for step in plan.fitted:
        weights, row = inverse.weights[step.tensor], inverse.report[step.tensor]
        ridges[step.tensor] = float(inverse.options.ridge) if row.ridge is None else row.ridge
        inverted[step.tensor] = Inverted(weights.blocks, weights.intercept, row.condition, row.rank)
    golden = Golden(material, s, a, inverted, rows, ridges, {})
    return replace(golden, named={name: value for stage in STAGES for name, value in stage.compared(golden)})


def _agree(golden: Golden, advance: Advance) -> None:
    """The weights of the engine reconstruct what those of the fit written out do. advance: is told of each fit."""
    for step in golden.material.plan.fitted:
        twin = golden.material.invert(step, golden.s, golden.rows, golden.ridges[step.tensor])
        mine = golden.named[f"solve/prediction/{step.tensor}"]
        theirs = golden.material.predict(step, golden.s, twin, affine=True)
        rounding = 1e4 * float(np.finfo(np.float64).eps) * max(1.0, min(twin.condition, 1e8))
        if np.max(np.abs(mine - theirs)) > rounding * max(float(np.max(np.abs(theirs))), 1e-300):
            raise MipinError(f"the engine's fit of tensor {step.tensor!r} disagrees with the same fit written out")
        advance(1)


class _Book:
    """Arrays, each content once, and the records of a manifest that name them."""

    def __init__(self, golden: Golden, moved: Mapping[str, Mapping[str, float]]) -> None:
        self.golden, self.moved = golden, moved
        self.arrays: dict[str, HostArray] = {}
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def keep(self, name: str, value: HostArray) -> str:
        """The name that the array is stored under."""
        value = np.ascontiguousarray(value)
        name = self._names.setdefault((str(value.dtype), value.shape, value.tobytes()), name)
        self.arrays[name] = value
        return name

    def keep_small(self, name: str, value: HostArray) -> str | None:
        return None if value.nbytes > PARAMETER_LIMIT else self.keep(name, value)

    def manifest(self, file: str, inverse: Inverse, labels: HostArray | None) -> dict[str, Any]:
        golden, net, plan = self.golden, self.golden.material.net, inverse.plan
        given = [self._given("x", golden.material.values[net.input], "input samples")]
        given.append(self._given("rows", golden.rows.astype(np.uint8), "1 for the samples that the fit uses"))
        if labels is not None:
            given.append(self._given("labels", labels.astype(np.int64), "classes of the samples"))
        for name, value in golden.material.sources.items():
            given.append(self._given(SOURCE + name, value, f"value of tensor {name!r}, which no layer makes"))
        layers = describe_layers(net, self.keep_small)
        stages: list[dict[str, Any]] = [
            {"name": stage.name, "given": stage.given, "tensors": self._tensors(stage)} for stage in STAGES
        ]
        stored = {entry["name"]: entry["array"] for stage in stages for entry in stage["tensors"]}
        options = {"target": golden.material.target, **asdict(inverse.options)}
        for name in LATER:
            if options[name] == DEFAULTS[name]:
                del options[name]
        named: dict[str, Any] = {"file": file, "sha256": net.sha256, "output": net.output}
        if net is not inverse.net:
            asked = inverse.net.target(inverse.target)
            named["target"] = list(asked) if isinstance(asked, tuple) else asked
        return {
            "format": KIND.format,
            "version": KIND.version,
            "packages": store.packages(),
            "model": named,
            "options": options,
            "samples": golden.material.samples,
            "fit_samples": int(golden.rows.sum()),
            "input": net.input,
            "logits": net.logits,
            "explained": plan.explained,
            "parameter_limit": PARAMETER_LIMIT,
            "given": given,
            "layers": layers,
            "steps": describe_steps(net, plan, inverse.report, stored),
            "stages": stages,
            "perturbation": {
                "recipe": RECIPE,
                "seeds": SEEDS,
                "safety": SAFETY,
                "floor": FLOOR,
                "hopeless": HOPELESS,
                "eps": {dtype: float(np.finfo(dtype).eps) for dtype in DTYPES},
            },
        }

    def _given(self, name: str, value: HostArray, meaning: str) -> dict[str, Any]:
        array = self.keep(name, value)
        return {"name": name, "array": array, "dtype": str(value.dtype), "shape": list(value.shape), "meaning": meaning}

    def _tensors(self, stage: Stage) -> list[dict[str, Any]]:
        records = []
        for name, value in self.golden.named.items():
            if not stage.names(name):
                continue
            array = self.keep_small(name, value) if what(name) in stage.optional else self.keep(name, value)
            if array is not None:
                records.append(self._tensor(stage, name, value, array))
        return records

    def _tensor(self, stage: Stage, name: str, value: HostArray, array: str) -> dict[str, Any]:
        material, exact = self.golden.material, what(name) in stage.exact
        record = {
            "name": name,
            "array": array,
            "tensor": stage.tensor(name, material),
            "dtype": str(value.dtype),
            "shape": list(value.shape),
            "axes": stage.axes(name, material, value.ndim),
            "meaning": stage.meanings[what(name)],
            "exact": exact,
        }
        if not exact:
            largest = float(np.max(np.abs(value), initial=0.0))
            change = {dtype: self.moved[dtype][name] for dtype in DTYPES}
            record["largest"] = largest
            record["change"] = {dtype: moved if np.isfinite(moved) else None for dtype, moved in change.items()}
            record["tolerance"] = {dtype: tolerance(moved, largest, dtype) for dtype, moved in change.items()}
        return record
