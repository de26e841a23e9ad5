"""Make a golden case: fit, record every stage, derive the tolerances, write it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mipin_ref import store
from mipin_ref.data import as_samples
from mipin_ref.errors import MipinError, UnsupportedModel
from mipin_ref.files import check_folder
from mipin_ref.golden.case import ARRAYS, KIND, MANIFEST, STAGES, Case, read_case, write_case
from mipin_ref.golden.describe import describe_layers, describe_steps
from mipin_ref.golden.material import Material, pools, recorded
from mipin_ref.golden.perturb import DTYPES, FLOOR, HOPELESS, RECIPE, SAFETY, SEEDS, Golden, changes, signals, solved
from mipin_ref.golden.regression import Array, Inverted
from mipin_ref.graph.load import load
from mipin_ref.inverse.fit import checked_labels, fit
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.layers import Shared
from mipin_ref.reading import path_of

PARAMETER_LIMIT = 2 << 20
"""Bytes above which a parameter of the network or a block of weights is left out of a case."""

GIVEN = {
    "forward": "x; a layer may start from the golden values of its inputs, switches and masks must",
    "solve": "golden values, switches, rows, and the golden S (for linear: A) of the tensors above",
    "propagate": "golden weights, switches and masks, and y_c from the golden logits",
    "end": "x and rows alone",
}


def make(
    model: str | Path,
    x: Any,
    target: int,
    folder: str | Path,
    *,
    labels: Any = None,
    output: str | None = None,
    ridge: float = 1e-3,
    conv_bias: bool = False,
    at: str | None = None,
    input_mask: bool | None = None,
    local: bool = True,
    fit_on: Literal["all", "target_class"] = "all",
) -> Case:
    """Write the golden values of one target of a model into a folder, and return them.

    model: path of the ONNX file, which the manifest names relative to the folder; x: few samples [N, *input_shape],
    which are calibration set and explained samples at once; labels: [N]; the other options as in `fit`, in float64.
    Everything is kept and every fit is written out a row a location, so that this is for small samples.
    Raises InvalidData as `fit` does, where the folder cannot be written (before anything is computed), where rows take
    too much memory, and where the engine does not agree with the fit written out; CorruptFile, UnsupportedModel as
    `load` does.
    """
    path_of(model, "the model of a case")
    folder = path_of(folder, "a case")
    check_folder(folder, (MANIFEST, ARRAYS))
    net = load(model, output=output)
    target = net.check_target(target)
    data = as_samples(x)
    batch = np.ascontiguousarray(data[0 : len(data)])
    known = checked_labels(labels, len(data), net)
    inverse = fit(
        net,
        batch,
        target,
        labels=known,
        ridge=ridge,
        conv_bias=conv_bias,
        at=at,
        input_mask=input_mask,
        local=local,
        fit_on=fit_on,
    )
    for step in inverse.plan.fitted:
        if step.axis != 1:
            raise UnsupportedModel(
                f"tensor {step.tensor!r} has its channels on axis {step.axis}, and a golden case has them on axis 1; "
                f"golden cases of such networks cannot be written"
            )
    material = recorded(net, inverse.plan, inverse.target, batch)
    golden = golden_values(material, inverse, fit_rows(material, inverse, known))
    _agree(golden)
    book = _Book(golden, {dtype: changes(golden, dtype) for dtype in DTYPES})
    file = os.path.relpath(Path(model).resolve(), folder.resolve())
    write_case(folder, book.manifest(Path(file).as_posix(), inverse, known), book.arrays)
    return read_case(folder)


def fit_rows(material: Material, inverse: Inverse, labels: Array | None) -> Array:
    """Which samples the fit uses, [N] bool."""
    if inverse.options.fit_on == "all":
        return np.ones(material.samples, np.bool_)
    found = material.values[material.net.logits].argmax(axis=-1) if labels is None else labels
    return np.asarray(found == inverse.target).reshape(-1)


def golden_values(material: Material, inverse: Inverse, rows: Array) -> Golden:
    """All stages as the engine computes them. rows: [N] bool, the samples of the fit."""
    net, plan = material.net, material.plan
    x = material.values[net.input]
    found = inverse.attribute(x, at=[step.tensor for step in plan.steps], batch_size=len(x))
    s = {plan.logits: material.placed_seed()} | {name: one.source for name, one in found.items()}
    a = {plan.logits: s[plan.logits]} | {name: one.attribution for name, one in found.items()}
    inverted, named = {}, {}
    for layer in net.layers:
        named[f"forward/value/{layer.output}"] = material.values[layer.output]
    for layer in pools(net):
        named[f"forward/switch/{layer.output}"] = material.switches[layer.output]
    for step in plan.steps:
        if step.mask:
            named[f"forward/mask/{step.tensor}"] = (material.values[step.tensor] != 0).astype(np.uint8)
    for step in plan.fitted:
        weights, row = inverse.weights[step.tensor], inverse.report[step.tensor]
        inverted[step.tensor] = Inverted(weights.blocks, weights.intercept, row.condition, row.rank)
        named.update(solved(material, step.tensor, inverted[step.tensor], s, a))
    for tensor in (plan.logits, *(step.tensor for step in plan.steps)):
        named.update(signals(tensor, s, a))
    named["end/output"] = s[plan.logits][..., material.target]
    named["end/S"], named["end/A"] = s[plan.explained], a[plan.explained]
    return Golden(material, s, a, inverted, rows, inverse.options.ridge, named)


def _agree(golden: Golden) -> None:
    """The weights of the engine reconstruct what those of the fit written out do."""
    for step in golden.material.plan.fitted:
        twin = golden.material.invert(step, golden.s, golden.rows, golden.ridge)
        mine = golden.named[f"solve/prediction/{step.tensor}"]
        theirs = golden.material.predict(step, golden.s, twin, affine=True)
        rounding = 1e4 * float(np.finfo(np.float64).eps) * max(1.0, min(twin.condition, 1e8))
        if np.max(np.abs(mine - theirs)) > rounding * max(float(np.max(np.abs(theirs))), 1e-300):
            raise MipinError(f"the engine's fit of tensor {step.tensor!r} disagrees with the same fit written out")


class _Book:
    """Arrays, each content once, and the records of a manifest that name them."""

    def __init__(self, golden: Golden, moved: Mapping[str, Mapping[str, float]]) -> None:
        self.golden, self.moved = golden, moved
        self.arrays: dict[str, Array] = {}
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def keep(self, name: str, value: Array) -> str:
        """The name that the array is stored under."""
        value = np.ascontiguousarray(value)
        name = self._names.setdefault((str(value.dtype), value.shape, value.tobytes()), name)
        self.arrays[name] = value
        return name

    def keep_small(self, name: str, value: Array) -> str | None:
        return None if value.nbytes > PARAMETER_LIMIT else self.keep(name, value)

    def manifest(self, file: str, inverse: Inverse, labels: Array | None) -> dict[str, Any]:
        golden, net, plan = self.golden, inverse.net, inverse.plan
        given = [self._given("x", golden.material.values[net.input], "input samples")]
        given.append(self._given("rows", golden.rows.astype(np.uint8), "1 for the samples that the fit uses"))
        if labels is not None:
            given.append(self._given("labels", labels.astype(np.int64), "classes of the samples"))
        layers = describe_layers(net, self.keep_small)
        stages = {stage: self._tensors(stage) for stage in STAGES}
        stored = {entry["name"]: entry["array"] for entry in stages["solve"]}
        options = {"target": inverse.target, **asdict(inverse.options)}
        return {
            "format": KIND.format,
            "version": KIND.version,
            "packages": store.packages(),
            "model": {"file": file, "sha256": net.sha256, "output": net.output},
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
            "stages": [{"name": name, "given": GIVEN[name], "tensors": found} for name, found in stages.items()],
            "perturbation": {
                "recipe": RECIPE,
                "seeds": SEEDS,
                "safety": SAFETY,
                "floor": FLOOR,
                "hopeless": HOPELESS,
                "eps": {dtype: float(np.finfo(dtype).eps) for dtype in DTYPES},
            },
        }

    def _given(self, name: str, value: Array, meaning: str) -> dict[str, Any]:
        array = self.keep(name, value)
        return {"name": name, "array": array, "dtype": str(value.dtype), "shape": list(value.shape), "meaning": meaning}

    def _tensors(self, stage: str) -> list[dict[str, Any]]:
        found = []
        for name, value in self.golden.named.items():
            if name.split("/")[0] != stage:
                continue
            weight = name.startswith("solve/weight/")
            array = self.keep_small(name, value) if weight else self.keep(name, value)
            if array is not None:
                found.append(self._tensor(name, value, array))
        return found

    def _tensor(self, name: str, value: Array, array: str) -> dict[str, Any]:
        plan = self.golden.material.plan
        stage, what, *rest = name.split("/", 2)
        tensor = rest[0] if rest else plan.logits if what == "output" else plan.explained
        number = None
        if what == "weight":
            tensor, _, last = tensor.rpartition("/")
            number = int(last)
        exact = what in ("switch", "mask")
        found = {
            "name": name,
            "array": array,
            "tensor": tensor,
            "dtype": str(value.dtype),
            "shape": list(value.shape),
            "axes": self._axes(tensor, number, value.ndim) if what != "intercept" else [_channel(self.golden, tensor)],
            "meaning": MEANINGS[f"{stage}/{what}"],
            "exact": exact,
        }
        if not exact:
            largest = float(np.max(np.abs(value), initial=0.0))
            change = {dtype: self.moved[dtype][name] for dtype in DTYPES}
            bounds = {
                dtype: SAFETY * moved + FLOOR * float(np.finfo(dtype).eps) * largest for dtype, moved in change.items()
            }
            found["largest"] = largest
            found["change"] = {dtype: moved if np.isfinite(moved) else None for dtype, moved in change.items()}
            found["tolerance"] = {
                dtype: bound if bound <= HOPELESS * largest else None for dtype, bound in bounds.items()
            }
        return found

    def _axes(self, tensor: str, block: int | None, rank: int) -> list[str]:
        if block is None:
            names = ["sample", _channel(self.golden, tensor)]
            return [*names, *(f"axis {i}" for i in range(2, rank))][:rank]
        layer = self.golden.material.plan.step_of[tensor].branches[block].layer
        if isinstance(layer, Shared):
            return list(layer.block_axes)
        return [_channel(self.golden, tensor)]


def _channel(golden: Golden, tensor: str) -> str:
    return "feature" if len(golden.material.net.shapes[tensor]) == 1 else "channel"


MEANINGS = {
    "forward/value": "value of the tensor, X",
    "forward/switch": "winning location of each window, index into the input map in C order",
    "forward/mask": "1 where the value is not zero",
    "solve/weight": "weights of one branch of the inverse",
    "solve/intercept": "intercept of the inverse",
    "solve/prediction": "reconstruction from the golden S above, before any mask",
    "solve/linear": "the same from the golden A above, without intercept",
    "propagate/S": "source signal",
    "propagate/A": "attribution",
    "end/output": "target logit y_c",
    "end/S": "source signal at the explained tensor",
    "end/A": "attribution at the explained tensor",
}
