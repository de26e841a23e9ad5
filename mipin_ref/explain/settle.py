"""What is settled before a sample is explained: preprocessing, predictions, targets, tensor, and what is fitted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mipin_ref.data import Samples, read_readable
from mipin_ref.data.presets import preprocessing_of
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.explain.asked import Asked, Read, Tell
from mipin_ref.explain.cache import Cache
from mipin_ref.explain.chosen import Begin, Fitted, choose
from mipin_ref.explain.class_names import ClassNames, class_names_of, told_target
from mipin_ref.explain.explainer import Explainer
from mipin_ref.explain.fits import Inverses, fitted_as, given_inverses
from mipin_ref.explain.inputs import Inputs
from mipin_ref.explain.targets import PREDICTED, Indices, check_classifier, wanted_classes
from mipin_ref.explain.ways import by_fit, by_inverses, by_method
from mipin_ref.graph.explained import AUTO
from mipin_ref.graph.forward import logits
from mipin_ref.graph.network import Network
from mipin_ref.inverse.options import METHOD_OPTIONS
from mipin_ref.layers import HostArray
from mipin_ref.methods.method import Method
from mipin_ref.panel.mip_in import InverseFitting, MipIn
from mipin_ref.panel.registry import make_method, method_named
from mipin_ref.progress import progress_bar

BATCH = 32
"""Samples that are read and predicted at a time."""
INPUT = "input"
"""What `at` calls the network's input, whatever its name."""


def settle(net: Network, model: Path | None, asked: Asked, tell: Tell, cache: Cache) -> Explainer:
    """Everything up to the first explained sample; tell: takes lines for a person as soon as they are known.

    model: the path of the network's file, where it came from one. Raises InvalidData for what does not fit. Warns with
    CalibrationWarning where samples are too few for a layer.
    """
    method = method_named(asked.method)
    names = class_names_of(net, asked.class_names, model)
    inverses = given_inverses(net, asked.inverse, asked.backend)
    _check_options(method, asked, inverses)
    named = _named_tensor(net, asked.at)
    _check_reach(inverses, named)
    predicted = isinstance(asked.target, str) and asked.target == PREDICTED
    target = asked.target
    if predicted and inverses is not None and len(inverses) == 1 and asked.top == 1:
        target = net.target(next(iter(inverses)))
    elif predicted:
        check_classifier(net)
    read = _read(net, model, asked, fitted_as(inverses) or asked.fitted, tell, cache)
    targets = wanted_classes(net, names, target, asked.top, read.scores)
    files = [read.inputs.names(read.data)[row] for row in read.rows]
    if method.fitting is not InverseFitting:
        way = by_method(net, method, asked, read, targets, named, tell)
    elif inverses is None:
        way = by_fit(net, asked, read, targets, named, tell, cache)
    else:
        _check_classes(net, names, inverses, targets, files)
        way = by_inverses(net, asked, inverses, targets, named, tell)
    guessed = read.chosen.guessed is not None or "not known" in read.chosen.line
    return Explainer(
        net=net,
        method=method.name,
        inputs=read.inputs,
        data=read.data,
        rows=read.rows,
        failures=read.failures,
        targets=targets,
        scores=read.scores,
        shares=read.shares,
        files=files,
        names=names,
        tensor=way.tensor,
        inverses=way.inverses,
        lines=[*([read.chosen.line] if guessed else []), *way.lines],
        facts=[*way.facts, *([("preprocessing", read.chosen.line)] if read.chosen.line else [])],
        header={**way.header, "method": method.name, "follows_logit": method.follows_logit},
        run=way.run,
    )


def _read(net: Network, model: Path | None, asked: Asked, fitted: Fitted | None, tell: Tell, cache: Cache) -> Read:
    inputs = Inputs.of(net, asked.images, key=asked.key, limit=asked.limit, exif=asked.exif)
    with progress_bar(asked.progress) as begin:
        chosen = choose(net, inputs, preprocessing_of(asked.preprocess), fitted, model, cache, begin)
        data = inputs.open(chosen.preprocessing)
        if chosen.line:
            tell(chosen.line)
        rows, failures, scores, forward = _predicted(net, data, begin)
    shares = None if net.probability is None else net.probabilities(scores)
    return Read(inputs, chosen, data, rows, failures, scores, shares, forward)


def _check_options(method: type[Method], asked: Asked, inverses: Inverses | None) -> None:
    if method.fitting is not InverseFitting:
        if inverses is not None:
            raise InvalidData(f"an inverse is for method {MipIn.name!r}, not for {method.name!r}")
        if method.fitting is None:
            if asked.calibration is not None:
                raise InvalidData(f"method {method.name!r} is not fitted: leave option 'calibration' out")
            make_method(method.name, asked.options)
        return
    for name in asked.options:
        if name not in METHOD_OPTIONS:
            raise InvalidData(
                f"method {method.name!r} has no option {name!r}; its options are {', '.join(METHOD_OPTIONS)}"
            )
    if inverses is not None and (asked.options or asked.calibration is not None or asked.dtype is not None):
        raise InvalidData("the inverse that is given is fitted already: leave options of a fit and calibration out")


def _named_tensor(net: Network, at: str | None) -> str | None:
    """The tensor that a user names, "auto" or None as they are. Raises InvalidData where there is none of that name."""
    if at is None or at == AUTO:
        return at
    if at == INPUT and INPUT not in net.shapes:
        return net.input
    return at if at == net.output else net.tensor(at)


def _predicted(net: Network, data: Samples, begin: Begin) -> tuple[list[int], list[str], HostArray, float]:
    """The rows that can be read, why the others cannot, the logits of those [n, C], and seconds a sample forward."""
    rows: list[int] = []
    failures: list[str] = []
    scores: list[HostArray] = []
    advance, taken = begin("predicting", len(data)), 0.0
    for start in range(0, len(data), BATCH):
        read = read_readable(data, start, start + BATCH)
        failures += read.failures
        if len(read.positions):
            began = time.monotonic()
            try:
                scores.append(logits(net, read.x, batch_size=BATCH))
            except InvalidData as error:
                raise InvalidData(f"counted from image {start}: {error}" if start else str(error)) from error
            taken += time.monotonic() - began
            rows += read.positions
        advance(min(BATCH, len(data) - start))
    if not rows:
        more = "" if len(data) == 1 else f"; nor can the other {len(data) - 1} images be read"
        raise CorruptFile(failures[0] + more)
    return rows, failures, np.concatenate(scores), taken / len(rows)


def _check_reach(inverses: Inverses | None, named: str | None) -> None:
    """Raises InvalidData where inverses that are given do not lead to a tensor that is asked for."""
    for one in () if inverses is None or named in (None, AUTO) else inverses.values():
        if named not in one.plan.step_of:
            raise InvalidData(
                f"tensor {named!r} is not between the logits and {one.plan.explained!r}, where the inverse ends"
            )


def _check_classes(net: Network, names: ClassNames, inverses: Inverses, targets: Indices, files: Sequence[str]) -> None:
    for row, some in enumerate(targets.tolist()):
        for c in some:
            if c not in inverses:
                there = ", ".join(told_target(net.target(one)) for one in inverses)
                raise InvalidData(
                    f"there is no inverse of {names.of(c)} ({told_target(net.target(c))}), asked for of {files[row]}; "
                    f"there are those of classes {there}: name one of them as the target, or give no inverse"
                )
