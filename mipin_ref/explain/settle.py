"""What is settled before a sample is explained: preprocessing, predictions, targets, tensor, and what is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from os import PathLike
from pathlib import Path

import numpy as np

from mipin_ref.data import Preprocessing, Samples, none_readable, read_readable
from mipin_ref.data.presets import preprocessing_of
from mipin_ref.data.readers import existing
from mipin_ref.errors import CorruptFile, InvalidData, MipinError
from mipin_ref.explain.asked import Asked, Read, Tell
from mipin_ref.explain.cache import Cache
from mipin_ref.explain.chosen import Begin, Fitted, choose
from mipin_ref.explain.class_names import ClassNames, class_names_of, told_target
from mipin_ref.explain.explainer import Explainer
from mipin_ref.explain.fits import Inverses, fitted_as, given_inverses
from mipin_ref.explain.inputs import Inputs
from mipin_ref.explain.predict import Net, predicted
from mipin_ref.explain.said import check_masks
from mipin_ref.explain.targets import PREDICTED, Indices, check_classifier, check_target, wanted_classes
from mipin_ref.explain.ways import by_fit, by_inverses, by_method
from mipin_ref.graph.explained import AUTO
from mipin_ref.graph.feature_maps import feature_maps
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.network import Network
from mipin_ref.graph.remembered import Remembered, remembering
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.options import METHOD_OPTIONS, Options, with_preset
from mipin_ref.inverse.plan import Plan, plan_for
from mipin_ref.layers import HostArray
from mipin_ref.memory import memory_bytes
from mipin_ref.methods.method import Method
from mipin_ref.panel.attribute import inverted
from mipin_ref.panel.fallback import fallback_method
from mipin_ref.panel.registry import METHODS, make_method, method_named
from mipin_ref.progress import progress_bar
from mipin_ref.text import one_line

BATCH = 32
"""Samples that are read and predicted at a time."""
LITTLE = 4 << 20
"""Bytes of a sample that are recorded when it is predicted, for when it is explained."""
INPUT = "input"
"""What `at` calls the network's input, whatever its name."""


def settle(net: Net, model: Path | None, asked: Asked, tell: Tell, cache: Cache) -> Explainer:
    """Everything up to the first explained sample; tell: takes lines for a person as soon as they are known.

    model: the path of the network's file, where it came from one. Raises InvalidData for what does not fit. Warns with
    CalibrationWarning where samples are too few for a layer.
    """
    instead = _instead(net, asked)
    if instead is not None:
        asked = replace(asked, method=instead.method, at=None, options={}, preset=None, dtype=None, calibration=None)
    method = method_named(asked.method)
    asked = _with_preset(method, asked)
    if not method.forward_only:
        inverted(net, method.name)
    alone = instead.line if instead is not None else _run_alone(net, model, method)
    if alone is not None:
        tell(alone)
    names = class_names_of(net, asked.class_names, model)
    inverses = None
    if asked.inverse is not None:
        _check_takes_inverses(method)
        inverses = given_inverses(inverted(net, method.name), asked.inverse, asked.backend)
    _check_options(method, asked, inverses)
    named = _named_tensor(net, asked.at)
    _check_reach(inverses, named)
    of_prediction = isinstance(asked.target, str) and asked.target == PREDICTED
    target = asked.target
    if of_prediction and inverses is not None and len(inverses) == 1 and asked.top == 1:
        target = net.target(next(iter(inverses)))
    elif of_prediction:
        check_classifier(net)
    check_target(net, names, target)
    memory = Remembered(memory_bytes(asked.memory), _asked_next(net, named))
    read = _read(net, model, asked, fitted_as(inverses) or asked.fitted, tell, cache, memory)
    targets = wanted_classes(net, names, target, asked.top, read.scores)
    files = [read.inputs.names(read.data)[row] for row in read.rows]
    if isinstance(net, ForwardOnly) or not method.takes_inverses():
        way = by_method(net, method, asked, read, targets, named, tell)
    elif inverses is None:
        way = by_fit(net, asked, read, targets, named, tell, cache)
    else:
        _check_classes(net, names, inverses, targets, files)
        way = by_inverses(net, asked, read, inverses, targets, named, tell)
    guessed = read.chosen.guessed is not None or "not known" in read.chosen.line
    return Explainer(
        net=net,
        method=method.name,
        inputs=read.inputs,
        data=read.data,
        rows=read.rows,
        failures=read.failures,
        targets=targets if way.targets is None else way.targets,
        stored=targets.shape[1],
        scores=read.scores,
        shares=read.shares,
        files=files,
        names=names,
        tensor=way.tensor,
        inverses=way.inverses,
        lines=[*([] if alone is None else [alone]), *([read.chosen.line] if guessed else []), *way.lines],
        facts=[*way.facts, *([("preprocessing", read.chosen.named)] if read.chosen.named else [])],
        header={**way.header, "method": method.name, "follows_logit": method.follows_logit},
        run=way.run,
        memory=memory,
        shows_progress=method.many_passes and asked.progress,
        texts=asked.texts,
    )


def _run_alone(net: Net, model: Path | None, method: type[Method]) -> str | None:
    """What is said of a file without an inverse that is explained by the method asked for; None of a network."""
    if not isinstance(net, ForwardOnly) or not method.forward_only:
        return None
    name = "this file" if model is None else one_line(model.name)
    return f"{name}: explained by its forward pass alone, {net.reason}"


def _asked_next(net: Net, named: str | None) -> list[str]:
    """What is recorded to explain a tensor: it and all behind it, where that is little: at pixels it is everything."""
    if isinstance(net, ForwardOnly) or named not in (AUTO, *net.shapes):
        return []
    tensor = next(iter(feature_maps(net)), net.input) if named == AUTO else named
    if tensor not in net.shapes:
        return []
    behind = [tensor, *(layer.output for layer in net.behind(tensor))]
    return behind if net.dtype.itemsize * sum(prod(net.shapes[name]) for name in behind) <= LITTLE else []


def _read(
    net: Net,
    model: Path | None,
    asked: Asked,
    fitted: Fitted | None,
    tell: Tell,
    cache: Cache,
    memory: Remembered,
) -> Read:
    inputs = Inputs.of(net, asked.images, key=asked.key, limit=asked.limit, exif=asked.exif)
    with progress_bar(asked.progress) as begin:
        wanted, whole = preprocessing_of(asked.preprocess), not isinstance(asked.preprocess, Preprocessing)
        chosen = choose(net, inputs, wanted, fitted, model, cache, begin, whole=whole)
        data = inputs.open(chosen.preprocessing)
        if chosen.line:
            tell(chosen.line)
        with remembering(net, memory):
            rows, failures, scores, shares = _predicted(net, data, begin, inputs.tokens)
    return Read(inputs, chosen, data, rows, failures, scores, shares)


@dataclass(frozen=True)
class _Instead:
    """The method for a model of which nothing can be inverted, and the line that says so."""

    method: str
    line: str


def _instead(net: Net, asked: Asked) -> _Instead | None:
    """What explains a model that inverses cannot; None where they can, or something else is asked for."""
    by_inverses = method_named(asked.method).takes_inverses() and asked.inverse is None
    if not by_inverses or asked.at not in (None, AUTO, INPUT, net.input):
        return None
    if isinstance(net, ForwardOnly):
        reason = net.reason
    else:
        try:
            part, index = facing(net, 0)
            plan = plan_for(part, Options(at=AUTO), index)
            if not _of_scores(part, plan):
                return None
            reason = (
                f"as tensor {plan.explained!r}, the furthest down that inverses reach, holds no more than a score of "
                "each class"
            )
        except MipinError as error:
            reason = str(error)
    method = fallback_method(net)
    line = f"explained by {method}, which needs the forward pass alone: nothing can be inverted, {reason}"
    return _Instead(method, line)


def _of_scores(net: Network, plan: Plan) -> bool:
    """Whether a plan ends at scores behind nodes without an inverse: no layer that joins entries, a Dense or a Conv,
    makes the classes of it. What each score comes from is then in front of it.
    """
    if plan.explained == net.input or prod(net.shapes[plan.explained]) > prod(net.shapes[net.logits]):
        return False
    return not any(branch.shared for step in plan.steps for branch in step.branches)


def _with_preset(method: type[Method], asked: Asked) -> Asked:
    """The same with the options of the preset among those given. Raises InvalidData where the method is fitted by none,
    or where the inverse is fitted already.
    """
    if asked.preset is None:
        return asked
    if not method.takes_inverses():
        raise InvalidData(f"a preset is of options of MIP-IN's fit, which method {method.name!r} has none of")
    options = with_preset(asked.preset, asked.options)
    if asked.inverse is not None:
        raise InvalidData(f"the inverse that is given is fitted already: leave preset {asked.preset!r} out")
    return replace(asked, options=options, preset=None)


def _check_options(method: type[Method], asked: Asked, inverses: Inverses | None) -> None:
    if isinstance(asked.calibration, str | PathLike):
        existing(asked.calibration)
    if not method.takes_inverses():
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


def _check_takes_inverses(method: type[Method]) -> None:
    if not method.takes_inverses():
        takers = ", ".join(repr(name) for name, one in METHODS.items() if one.takes_inverses())
        raise InvalidData(f"an inverse is for method {takers}, not for {method.name!r}")


def _named_tensor(net: Net, at: str | None) -> str | None:
    """The tensor that a user names, "auto" or None as they are. Raises InvalidData where there is none of that name."""
    if at is None or at == AUTO:
        return at
    if at == INPUT and INPUT not in net.shapes:
        return net.input
    if at == net.output:
        return at
    return net.told_tensor(at) if isinstance(net, Network) else net.tensor(at)


def _predicted(
    net: Net, data: Samples, begin: Begin, tokens: bool
) -> tuple[list[int], list[str], HostArray, HostArray | None]:
    """The rows that can be read, why the others cannot, scores and probabilities [n, C]; tokens: whether data are ids.

    Raises InvalidData where a mask hides all tokens of one.
    """
    rows: list[int] = []
    failures: list[str] = []
    made: list[tuple[HostArray, HostArray | None]] = []
    advance = begin("predicting", len(data))
    for start in range(0, len(data), BATCH):
        read = read_readable(data, start, start + BATCH)
        failures += read.failures
        if len(read.positions):
            if tokens:
                check_masks(read.x, start)
            try:
                made.append(predicted(net, read.x, BATCH))
            except InvalidData as error:
                raise InvalidData(f"counted from image {start}: {error}" if start else str(error)) from error
            rows += read.positions
        advance(min(BATCH, len(data) - start))
    if not rows:
        raise CorruptFile(none_readable(failures[0], len(data)))
    shares = [one for _, one in made if one is not None]
    scores = np.concatenate([one for one, _ in made])
    return rows, failures, scores, np.concatenate(shares) if shares else None


def _check_reach(inverses: Inverses | None, named: str | None) -> None:
    """Raises InvalidData where inverses that are given do not lead to a tensor that is asked for."""
    for one in () if inverses is None or named in (None, AUTO) else inverses.alike():
        if named not in one.plan.step_of:
            raise InvalidData(
                f"tensor {named!r} is not between the logits and {one.plan.explained!r}, where the inverse ends"
            )


def _check_classes(net: Net, names: ClassNames, inverses: Inverses, targets: Indices, files: Sequence[str]) -> None:
    for row, some in enumerate(targets.tolist()):
        for c in some:
            if c not in inverses:
                there = ", ".join(told_target(net.target(one)) for one in inverses)
                raise InvalidData(
                    f"there is no inverse of {names.of(c)} ({told_target(net.target(c))}), asked for of {files[row]}; "
                    f"there are those of classes {there}: name one of them as the target, or give no inverse"
                )
