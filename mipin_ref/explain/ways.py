"""By what samples are explained: inverses that are given, inverses fitted now or before, or another method."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.data import Samples, left_out_of
from mipin_ref.errors import CalibrationWarning
from mipin_ref.explain.alternatives import with_next
from mipin_ref.explain.asked import Asked, Read, Tell
from mipin_ref.explain.cache import Cache
from mipin_ref.explain.calibration import Made, calibration_from, few_samples
from mipin_ref.explain.explainer import Run
from mipin_ref.explain.fits import Fits, Inverses
from mipin_ref.explain.inputs import Inputs
from mipin_ref.explain.outdone import told_outdone
from mipin_ref.explain.predict import Net
from mipin_ref.explain.targets import Indices, told_targets
from mipin_ref.explain.uneven import told_uneven
from mipin_ref.graph.explained import AUTO, explained, told_of
from mipin_ref.graph.feature_maps import feature_maps
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import faced
from mipin_ref.inverse.report import warn_outweighed
from mipin_ref.layers import HostArray
from mipin_ref.methods.method import Method
from mipin_ref.panel.attribute import attribute, inverted
from mipin_ref.panel.mip_in import MipIn
from mipin_ref.panel.panel import Panel
from mipin_ref.panel.registry import make_method

MANY = 10
"""Forward passes of a method from which on it is worth timing one."""
TIMED = 8
"""Samples that are run to see what the network takes."""
LONG = 30.0
"""Seconds from which on it is said what a fit will take, and its finished passes are kept."""
QUICK = 2
"""Fitted tensors that take no time worth measuring."""


@dataclass(frozen=True, eq=False)
class Way:
    """By what samples are explained, at which tensor, and what is said of it; targets: the classes to show where they
    are more than those asked for.
    """

    tensor: str
    run: Run
    header: Mapping[str, Any]
    facts: Sequence[tuple[str, str]] = ()
    lines: Sequence[str] = ()
    inverses: Inverses | None = None
    targets: Indices | None = None


def by_inverses(
    net: Network, asked: Asked, read: Read, inverses: Inverses, targets: Indices, named: str | None, tell: Tell
) -> Way:
    """By inverses that are given, where they end or at a tensor on their way."""
    classes = np.unique(targets)
    some = inverses.some(classes.tolist())
    way = MipIn(MipIn.checked({"inverse": some}))
    part = faced(net, classes)[0]
    tensor = way.explained(part, None if named == AUTO else named)
    tell(f"explained at {tensor!r}" + (", the input" if tensor == net.input else ""))
    known = _told_known(net, part, tensor, read, tell)
    outweighed = warn_outweighed(one.report for one in some.values())
    dtype = next(iter(some.values())).options.dtype
    header: dict[str, Any] = {"options": {}, "dtype": dtype}
    lines = [*([] if outweighed is None else [outweighed]), *known]
    return Way(tensor, _mip_in(net, asked, tensor, inverses), header, lines=lines, inverses=inverses)


def by_fit(
    net: Network, asked: Asked, read: Read, targets: Indices, named: str | None, tell: Tell, cache: Cache
) -> Way:
    """By inverses of the classes asked for, kept from an earlier run or fitted now, all in the same passes."""
    part = faced(net, np.unique(targets))[0]
    tensor = MipIn(MipIn.checked({"calibration": ()})).explained(part, named)
    tell(_told_tensor(part, tensor, asked.at))
    known = _told_known(net, part, tensor, read, tell)
    made, data, rows = _calibration(read, asked, tell)
    tell(made.line)
    dtype = asked.dtype or "float32"
    run = {"backend": asked.backend, "memory": asked.memory, "progress": asked.progress, "dtype": dtype}
    fits = Fits(net, tensor, made, data, rows, dict(asked.options), run, cache)
    targets = with_next(net, asked, read, targets, fits)
    classes = np.unique(targets).tolist()
    few = few_samples(fits.plan(classes[0]), made.count)
    for one in few:
        warnings.warn(one, CalibrationWarning, stacklevel=4)
    inverses, kept = fits.of(classes, long=_takes_long(net, fits, classes, read, tell))
    tell(_told_fit(inverses, kept))
    outweighed = warn_outweighed(one.report for one in inverses.values())
    # A fit in single precision may have turned out to need double.
    dtype = next(iter(inverses.values())).options.dtype
    told = {"calibration": _told_path(asked), "samples": made.count, "dtype": dtype}
    header = {"options": dict(asked.options), "dtype": dtype, "calibration": made.line, "inverse": told}
    facts = [("calibration", made.line.removeprefix("calibration: "))]
    lines = [*([] if outweighed is None else [outweighed]), *known, *few]
    return Way(tensor, _mip_in(net, asked, tensor, inverses), header, facts, lines, inverses, targets)


def _told_known(net: Network, part: Network, tensor: str, read: Read, tell: Tell) -> list[str]:
    """What is known of MIP-IN's maps at a tensor of such a network and such samples, which is said."""
    lines = [*told_outdone(part, tensor), *told_uneven(net, tensor, read)]
    for line in lines:
        tell(line)
    return lines


def _mip_in(net: Network, asked: Asked, tensor: str, inverses: Inverses) -> Run:
    def run(x: HostArray, some: Indices) -> Attribution:
        given = inverses.some(np.unique(some).tolist())
        return attribute(net, x, told_targets(net, some), MipIn.name, at=tensor, backend=asked.backend, inverse=given)

    return run


def by_method(
    net: Net, method: type[Method], asked: Asked, read: Read, targets: Indices, named: str | None, tell: Tell
) -> Way:
    """By another method, fitted first where it must be."""
    part: Any = net if isinstance(net, ForwardOnly) else faced(net, np.unique(targets))[0]
    if method.fitting is not None:
        return _by_fitted(inverted(net, method.name), part, method, asked, read, targets, named, tell)
    at = make_method(method.name, asked.options).explained(part, named)
    tell(_told_tensor(part, at, asked.at))
    dtype = asked.dtype or "float64"
    how: dict[str, Any] = {"backend": asked.backend, "memory": asked.memory, "dtype": dtype}
    options, progress = {**how, **asked.options}, asked.progress and method.many_passes
    passes = make_method(method.name, asked.options).passes(part, at)
    if passes >= MANY and (seconds := passes * targets.size * _timed_forward(net, read)) >= LONG:
        tell(f"{method.name} takes {passes:,} forward passes {_a_sample(targets)}, about {_told_time(seconds)}")

    def run(x: HostArray, some: Indices) -> Attribution:
        return attribute(net, x, told_targets(net, some), method.name, at=at, progress=progress, **options)

    return Way(at, run, {"options": dict(asked.options), "dtype": dtype})


def _by_fitted(
    net: Network,
    part: Network,
    method: type[Method],
    asked: Asked,
    read: Read,
    targets: Indices,
    named: str | None,
    tell: Tell,
) -> Way:
    """By a method that is fitted on calibration samples, or has what was fitted as an option."""
    at, dtype = explained(part, named), asked.dtype or "float64"
    tell(_told_tensor(part, at, asked.at))
    header: dict[str, Any] = {"options": {}, "dtype": dtype}
    calibration, facts = None, []
    assert method.fitting is not None
    option = method.fitting.option
    if option in asked.options:
        header[option] = {"file": asked.file, "calibration": None, "samples": asked.options[option].samples}
    else:
        made, _, _ = _calibration(read, asked, tell)
        header[option] = {"file": None, "calibration": _told_path(asked), "samples": made.count}
        tell(made.line)
        header["calibration"] = made.line
        facts.append(("calibration", made.line.removeprefix("calibration: ")))
        calibration = made.build()
    panel = Panel(
        net,
        calibration,
        names=[method.name],
        method_options={method.name: asked.options} if asked.options else None,
        dtype=dtype,
        backend=asked.backend,
        memory=asked.memory,
        progress=asked.progress,
    )
    panel.ready(method.name, [net.target(c) for c in np.unique(targets).tolist()])

    def run(x: HostArray, some: Indices) -> Attribution:
        return panel.explain(method.name, x, told_targets(net, some), at=at)

    return Way(at, run, header, facts)


def _calibration(read: Read, asked: Asked, tell: Tell) -> tuple[Made, Samples, Sequence[int] | None]:
    """The calibration samples: those given, else made of what is explained; and what they are made of, which rows."""
    preprocessing = read.chosen.preprocessing
    if asked.calibration is None:
        made = calibration_from(read.inputs, preprocessing, read.rows)
        return made, read.inputs.open(preprocessing), read.rows
    key, limit = asked.calibration_key, asked.calibration_limit
    given = Inputs.of(read.inputs, asked.calibration, key=key, limit=limit, exif=asked.exif, option="calibration_key")
    samples = given.open(preprocessing if given.stored and not given.prepared else None)
    line = f"calibration: {len(samples):,} samples of {given.described()}"
    if asked.texts is not None and asked.texts.calibration:
        line = f"calibration: {len(samples):,} texts of {asked.texts.calibration}"
    if left_out := left_out_of(samples):
        tell(f"{given.described()}: {left_out}")
    return Made(lambda: samples, len(samples), line, "given", samples.source.preprocessing), samples, None


def _told_path(asked: Asked) -> str | None:
    """The path of the calibration samples; None of an array, and of samples made of what is explained."""
    return os.fspath(asked.calibration) if isinstance(asked.calibration, str | os.PathLike) else None


def _told_tensor(net: Net, tensor: str, at: str | None) -> str:
    if at == AUTO and tensor in net.shapes and isinstance(net, Network):
        return told_of(net, tensor)
    return f"explained at {tensor!r}" + (", the input" if tensor == net.input else "")


def _takes_long(net: Network, fits: Fits, classes: Sequence[int], read: Read, tell: Tell) -> bool:
    """Whether a fit takes long, down to the input or to a tensor far from the logits; it is said then."""
    fitted = len(fits.plan(classes[0]).fitted)
    if fitted <= QUICK:
        return False
    seconds = fits.seconds(classes, _timed_forward(net, read))
    if seconds < LONG:
        return False
    less = "; explained at 'auto' it takes seconds" if fits.tensor == net.input and feature_maps(net) else ""
    kept = "" if fits.cache.folder is None else "; interrupted, the same command goes on from its last finished pass"
    tell(
        f"fitting {fitted} tensors of {len(classes)} classes on {fits.made.count} samples takes about "
        f"{_told_time(seconds)}{less}{kept}"
    )
    return True


def _told_time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{max(1, round(seconds / 60))} minutes"


def _a_sample(targets: Indices) -> str:
    return "a sample" if targets.shape[1] == 1 else "a sample and class"


def _timed_forward(net: Net, read: Read) -> float:
    """Seconds that the network takes a sample forward, now: of the second run of a few, as the first opens it."""
    x, scores = read.data[np.asarray(read.rows[:TIMED], np.int64)], net.scoring()
    scores(x, 0)
    began = time.monotonic()
    scores(x, 0)
    return (time.monotonic() - began) / len(x)


def _told_fit(inverses: Inverses, kept: int) -> str:
    classes, common = len(inverses), next(iter(inverses.values())).report.told_common
    what = "the inverse of 1 class" if classes == 1 else f"the inverses of {classes} classes"
    shared = "" if common is None else f"; {common}"
    if kept == classes:
        return f"{what}: kept from an earlier run{shared}"
    return f"{what}: fitted" + (f", {kept} of them kept from an earlier run" if kept else "") + shared
