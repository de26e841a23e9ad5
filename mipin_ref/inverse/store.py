"""Saved inverses: a safetensors file whose header says which network, target, options and versions made it."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from mipin_ref.backend import Backend, get_backend
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.files import written_whole
from mipin_ref.graph.network import Conv, Dense, Network
from mipin_ref.inverse.blocks import Weights
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.plan import Step, make_plan
from mipin_ref.inverse.report import Report, TensorReport

FORMAT, VERSION = "mipin-inverse", 1
_RECORDED = ("mipin_ref", "numpy", "scipy", "onnx", "onnxruntime")


def save(inverse: Inverse, path: str | Path) -> None:
    """Write an inverse, whole or not at all. Raises OSError where the disk refuses."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "model_sha256": inverse.net.sha256,
        "output": inverse.net.output,
        "target": inverse.target,
        "samples": inverse.samples,
        "options": asdict(inverse.options),
        "backend": inverse.backend.name,
        "packages": {name: version(name) for name in _RECORDED},
        "report": inverse.report.as_rows(),
    }
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for number, step in enumerate(inverse.plan.fitted):
        weights = inverse.weights[step.tensor]
        # safetensors writes the buffer as it lies, whatever the strides.
        tensors[f"{number}.kernel"] = np.ascontiguousarray(weights.kernel)
        if weights.intercept is not None:
            tensors[f"{number}.intercept"] = np.ascontiguousarray(weights.intercept)
    content = safetensors.numpy.save(tensors, {FORMAT: json.dumps(header)})
    with written_whole(path) as file:
        file.write(content)


def load_inverse(
    path: str | Path,
    net: Network,
    *,
    target: int | None = None,
    backend: str | Backend | ModuleType = "numpy",
) -> Inverse:
    """Read an inverse that `save` wrote, for the network it was fitted on.

    target: refuse an inverse of another class. Raises InvalidData where there is no such file, CorruptFile where it is
    truncated, no inverse, of another version, another network or another class.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidData(f"there is no file {str(path)!r}")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[FORMAT])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except KeyError as error:
        raise CorruptFile(f"{str(path)!r} is not a saved inverse") from error
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise CorruptFile(f"{str(path)!r} is not a saved inverse, or is truncated: {error}") from error
    _check_header(path, header, net, target)
    try:
        options = Options(**header["options"])
        plan = make_plan(net, at=options.at, local=options.local, input_mask=options.input_mask)
        report = Report(tuple(TensorReport(**row) for row in header["report"]))
        found, samples = int(header["target"]), int(header["samples"])
        weights = {
            step.tensor: _weights(path, tensors, number, step, plan.column and step is plan.steps[0])
            for number, step in enumerate(plan.fitted)
        }
    except (KeyError, TypeError) as error:
        raise CorruptFile(f"the header of {str(path)!r} is incomplete: {error}") from error
    return Inverse(net, found, options, plan, weights, report, samples, get_backend(backend, options.dtype))


def _check_header(path: Path, header: dict[str, Any], net: Network, target: int | None) -> None:
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise CorruptFile(f"{str(path)!r} has format version {header.get('version')!r}; this package reads {VERSION}")
    if header.get("model_sha256") != net.sha256 or header.get("output") != net.output:
        raise CorruptFile(f"{str(path)!r} was fitted on another network (or another output of this one)")
    if target is not None and header.get("target") != target:
        raise CorruptFile(f"{str(path)!r} explains class {header.get('target')}, not class {target}")


def _weights(path: Path, tensors: dict[str, Any], number: int, step: Step, column: bool) -> Weights:
    layer = step.layer
    assert isinstance(layer, Dense | Conv)
    if isinstance(layer, Dense):
        shape: tuple[int, ...] = (layer.in_shape[0], 1 if column else layer.out_shape[0])
    else:
        shape = layer.weight.shape
    kernel, intercept = tensors[f"{number}.kernel"], tensors.get(f"{number}.intercept")
    fits = kernel.shape == shape and (intercept is None or intercept.shape == layer.in_shape[:1])
    if not fits or kernel.dtype != np.float64 or not np.all(np.isfinite(kernel)):
        raise CorruptFile(f"{str(path)!r} holds no finite weights of shape {shape} for tensor {step.tensor!r}")
    return Weights(kernel, intercept)
