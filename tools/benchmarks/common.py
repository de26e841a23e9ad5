"""From which tensor down classes can share an inverse: how two of them agree with their own fits, tensor by tensor.

What `common="auto"` looks at, by fits of its own: the two classes that most samples are taken for, fitted in full and
with each of the tensors nearest to the logits in common. Agreement is the lower of both classes' median correlations of
A ⊙ X on the samples fitted on, which "auto" asks for; beside it stand that of each class with the other's inverses from
the tensor down, and that of maps on samples that take no part in the fits. Times are of the processor, all threads
together.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from benchmarks.classes import NETWORK, clocked, related, samples_of
from benchmarks.data import Floats
from benchmarks.tables import Sheet, Told

COLUMNS = {
    "in common from": "{tensor}",
    "own tensors": "{own}",
    "fit of two classes": "{fit:.1f} s",
    "the other's": "{crossed:.4f}",
    "agreement": "{agreement:.4f}",
    "maps of other samples": "{maps:.4f}",
}
TRIED = 8

Values = NDArray[np.floating[Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help=f"ONNX file of a classifier of photographs (default: {NETWORK})")
    parser.add_argument("--photographs", type=Path, help="its folder of *_<label>.jpg")
    parser.add_argument("--at", help="explain this tensor instead of the input")
    parser.add_argument("--samples", type=int, default=24, help="to fit on (default: 24)")
    parser.add_argument("--tensors", type=int, default=TRIED, help=f"nearest to the logits (default: {TRIED})")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--dtype", default="float32")


def run(options: argparse.Namespace) -> Told:
    net, x, new, _ = samples_of(options)
    given: dict[str, Any] = {"at": options.at, "memory": options.memory, "dtype": options.dtype}
    classes, counts = np.unique(net.predict(x)[1].argmax(axis=1), return_counts=True)
    probes = sorted(int(one) for one in classes[np.argsort(-counts, kind="stable")][:2])
    alone = clocked(lambda: mr.fit(net, x, probes, **given))
    sheet = Sheet(COLUMNS)
    fitted = [step.tensor for step in alone.value[probes[0]].plan.fitted]
    for own, tensor in enumerate(fitted[: options.tensors]):
        shared = clocked(lambda tensor=tensor: mr.fit(net, x, probes, common=tensor, **given))  # type: ignore[misc]
        found = {
            "crossed": crossed(alone.value, own, x),
            "agreement": min(agreement(contributions, alone.value[one], shared.value[one], x) for one in probes),
            "maps": min(agreement(maps, alone.value[one], shared.value[one], new) for one in probes),
        }
        sheet.add(tensor=tensor, own=own, fit=shared.processor, **found)
    with warnings.catch_warnings():
        # That no tensor is good enough is told below.
        warnings.simplefilter("ignore", mr.SharingWarning)
        auto = clocked(lambda: mr.fit(net, x, probes, common="auto", **given))
    told = auto.value[probes[0]].report.common
    tensor = None if told is None else told.tensor
    where = "no tensor" if tensor is None else tensor
    agreed = None if told is None else told.agreement
    print(f"\nauto: {where}, in {auto.processor:.1f} s; both alone: {alone.processor:.1f} s")
    values = {"alone": alone.processor, "auto": auto.processor, "auto_tensor": where, "auto_agreement": agreed}
    return {"rows": sheet.rows, "values": values | {"times": auto.processor / alone.processor}}


def crossed(alone: Mapping[int, mr.Inverse], own: int, x: Floats) -> float:
    """How well each of two classes is served by the other's inverses behind so many fitted tensors of its own.

    In a chain: where a network has branches, those behind in the order of the fit.
    """
    lower = [step.tensor for step in next(iter(alone.values())).plan.fitted][own:]
    first, second = alone
    medians = []
    for one, other in ((first, second), (second, first)):
        mixed = {**alone[one].weights, **{name: alone[other].weights[name] for name in lower}}
        medians.append(agreement(contributions, alone[one], replace(alone[one], weights=mixed), x))
    return min(medians)


def contributions(inverse: mr.Inverse, x: Floats) -> Values:
    return inverse.attribute(x).contribution


def maps(inverse: mr.Inverse, x: Floats) -> Values:
    return mr.saliency(inverse.attribute(x))


def agreement(what: Callable[[mr.Inverse, Floats], Values], alone: mr.Inverse, shared: mr.Inverse, x: Floats) -> float:
    """The median over samples of the correlation of what two inverses give."""
    one, other = (what(inverse, x).reshape(len(x), -1).astype(np.float64) for inverse in (alone, shared))
    return float(np.median([related(a, b) for a, b in zip(one, other, strict=True)]))
