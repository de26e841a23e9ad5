"""What is settled before a sample is explained: preprocessing, predictions, targets, tensor, and what was fitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mipin_ref.attribution import Attribution
from mipin_ref.data import Preprocessing, Samples, read_readable
from mipin_ref.data.presets import preprocessing_of
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.explain.cache import Cache
from mipin_ref.explain.calibration import Made, calibration_from, few_samples
from mipin_ref.explain.chosen import Begin, Chosen, Fitted, choose
from mipin_ref.explain.class_names import ClassNames, class_names_of, told_target
from mipin_ref.explain.fits import Fits, Inverses, fitted_as, given_inverses
from mipin_ref.explain.inputs import Inputs
from mipin_ref.explain.targets import PREDICTED, Indices, check_classifier, wanted_classes
from mipin_ref.graph.explained import AUTO, told_of
from mipin_ref.graph.feature_maps import feature_maps
from mipin_ref.graph.forward import logits
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import faced
from mipin_ref.inverse.options import METHOD_OPTIONS
from mipin_ref.layers import HostArray
from mipin_ref.methods.method import Method
from mipin_ref.panel.attribute import attribute
from mipin_ref.panel.mip_in import InverseFitting, MipIn
from mipin_ref.panel.panel import Panel
from mipin_ref.panel.registry import make_method, method_named
from mipin_ref.progress import progress_bar

BATCH = 32
"""Samples that are read and predicted at a time."""
LONG = 30.0
"""Seconds from which on it is said what a fit will take."""
INPUT = "input"
"""What `at` calls the network's input, whatever its name."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What a user asks for, as `explain` has it; the others say how it is run.

    key, limit, exif: see `Inputs`; calibration_key, calibration_limit: the same of the calibration samples.
    """

    images: Any
    target: Any = PREDICTED
    method: str = MipIn.name
    at: str | None = AUTO
    calibration: Any = None
    inverse: Any = None
    top: int = 1
    preprocess: Any = None
    class_names: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str | None = None
    memory: str | int = "2GB"
    backend: Any = "numpy"
    progress: bool = False
    key: str | None = None
    limit: int | None = None
    exif: bool = True
    calibration_key: str | None = None
    calibration_limit: int | None = None
    fitted: Fitted | None = None


@dataclass(frozen=True, eq=False)
class Explainer:
    """All that explains samples of one network, settled.

    data: the samples as the network's input; rows: those that can be read; failures: why the others cannot;
    targets: [n, k] indices into the logits, of each of `rows`, the first one first; scores: [n, C] logits;
    shares: [n, C] probabilities, None where the network has none; files: names of the samples [n];
    tensor: what is explained; inverses: of MIP-IN; lines: what a person should know first, the guesses;
    facts: what else there is to tell, (what, value).
    """

    net: Network
    method: type[Method]
    inputs: Inputs
    data: Samples
    chosen: Chosen
    rows: Sequence[int]
    failures: Sequence[str]
    targets: Indices
    scores: HostArray
    shares: HostArray | None
    files: Sequence[str]
    names: ClassNames
    tensor: str
    inverses: Inverses | None
    lines: Sequence[str]
    facts: Sequence[tuple[str, str]]
    header: Mapping[str, Any]
    dtype: str
    run: Callable[[HostArray, Indices], Attribution]

    def explain(self, start: int, stop: int) -> tuple[HostArray, list[Attribution]]:
        """Samples `start` to `stop` of `rows`, and their attributions, one for each of the k classes."""
        x = self.data[np.asarray(self.rows[start:stop], np.int64)]
        try:
            return x, [self.run(x, self.targets[start:stop, rank]) for rank in range(self.targets.shape[1])]
        except InvalidData as error:
            # Samples are counted within the batch.
            raise InvalidData(f"counted from image {start}: {error}" if start else str(error)) from error

    def target(self, row: int, rank: int = 0) -> int | tuple[int, ...]:
        """The target of a sample as people name it."""
        return self.net.target(int(self.targets[row, rank]))

    def score(self, row: int, rank: int = 0) -> str:
        """What the network gives the class, as a text: its probability, or the logit where there is none."""
        c = int(self.targets[row, rank])
        if self.shares is None or not np.isfinite(self.shares[row, c]):
            return f"logit {self.scores[row, c]:.3g}"
        share = float(self.shares[row, c])
        return f"{share:.1%}" if share >= 0.001 else "<0.1%"


def settle(net: Network, model: Path | None, asked: Asked, tell: Tell, cache: Cache) -> Explainer:
    """Everything up to the first explained sample; tell: takes lines for a person as soon as they are known.

    model: the path of the network's file, where it came from one. Raises InvalidData for what does not fit.
    """
    method = method_named(asked.method)
    names = class_names_of(net, asked.class_names, model)
    inverses = given_inverses(net, asked.inverse, asked.backend)
    _check_options(method, asked, inverses)
    named = _named_tensor(net, asked.at)
    predicted = isinstance(asked.target, str) and asked.target == PREDICTED
    if predicted and (inverses is None or len(inverses) > 1):
        check_classifier(net)
    inputs = Inputs.of(net, asked.images, key=asked.key, limit=asked.limit, exif=asked.exif)
    fitted = fitted_as(inverses) or asked.fitted
    with progress_bar(asked.progress) as begin:
        chosen = choose(net, inputs, preprocessing_of(asked.preprocess), fitted, model, cache, begin)
        data = inputs.open(chosen.preprocessing)
        if chosen.line:
            tell(chosen.line)
        rows, failures, scores, forward = _predicted(net, data, begin)
    shares = None if net.probability is None else net.probabilities(scores)
    target = asked.target
    if predicted and inverses is not None and len(inverses) == 1 and asked.top == 1:
        target = net.target(next(iter(inverses)))
    targets = wanted_classes(net, names, target, asked.top, scores)
    files = [inputs.names(data)[row] for row in rows]
    lines = [chosen.line] if chosen.guessed is not None or "not known" in chosen.line else []
    run_with = {"backend": asked.backend, "memory": asked.memory, "progress": asked.progress}
    dtype = asked.dtype or ("float32" if method.fitting is InverseFitting else "float64")
    header: dict[str, Any] = {"options": dict(asked.options), "dtype": dtype}
    facts: list[tuple[str, str]] = []
    if method.fitting is InverseFitting:
        tensor = _mip_in_tensor(net, inverses, targets, named)
        tell(_told_tensor(net, tensor, asked.at, inverses is not None))
        if inverses is None:
            made, source = _calibration(net, inputs, chosen, asked, rows)
            tell(made.line)
            fits = Fits(net, tensor, made, *source, dict(asked.options), {**run_with, "dtype": dtype}, cache)
            classes = np.unique(targets).tolist()
            _tell_cost(net, fits, classes, forward, tell)
            lines += [f"warning: {one}" for one in few_samples(net, fits.plan(classes[0]), made.count)]
            for line in lines[1 if chosen.guessed is not None else 0 :]:
                tell(line)
            inverses, kept = fits.of(classes)
            tell(_told_fit(len(classes), kept))
            header["calibration"] = made.line
            facts.append(("calibration", made.line.removeprefix("calibration: ")))
        dtype = next(iter(inverses.values())).options.dtype
        header["dtype"] = dtype
        _check_classes(net, names, inverses, targets, files)
        use = inverses

        def run(x: HostArray, some: Indices) -> Attribution:
            told = _told(net, some)
            return attribute(net, x, told, MipIn.name, at=tensor, backend=asked.backend, inverse=dict(use))

    else:
        one = make_method(method.name, {} if method.fitting is not None else asked.options)
        tensor = one.explained(faced(net, np.unique(targets))[0], named)
        calibration = None
        if method.fitting is not None and method.fitting.option not in asked.options:
            made, _ = _calibration(net, inputs, chosen, asked, rows)
            tell(made.line)
            calibration = made.build()
            header["calibration"] = made.line
        panel = Panel(
            net,
            calibration,
            names=[method.name],
            method_options={method.name: asked.options} if asked.options else None,
            dtype=dtype,
            **run_with,
        )
        tell(_told_tensor(net, tensor, asked.at, False))

        def run(x: HostArray, some: Indices) -> Attribution:
            return panel.explain(method.name, x, _told(net, some), at=tensor)

    return Explainer(
        net=net,
        method=method,
        inputs=inputs,
        data=data,
        chosen=chosen,
        rows=rows,
        failures=failures,
        targets=targets,
        scores=scores,
        shares=shares,
        files=files,
        names=names,
        tensor=tensor,
        inverses=inverses,
        lines=lines,
        facts=[*facts, *([("preprocessing", chosen.line)] if chosen.line else [])],
        header={**header, "method": method.name, "follows_logit": method.follows_logit},
        dtype=dtype,
        run=run,
    )


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


def _calibration(
    net: Network, inputs: Inputs, chosen: Chosen, asked: Asked, rows: Sequence[int]
) -> tuple[Made, tuple[Samples, Sequence[int] | None]]:
    """The calibration samples: those given, else made of what is explained; and what they are made of."""
    if asked.calibration is None:
        made = calibration_from(inputs, chosen.preprocessing, rows)
        return made, (inputs.open(chosen.preprocessing), rows)
    given = Inputs.of(net, asked.calibration, key=asked.calibration_key, limit=asked.calibration_limit, exif=asked.exif)
    samples = given.open(None if given.prepared else _for(given, chosen.preprocessing))
    line = f"calibration: {len(samples):,} samples of {given.described()}"
    preprocessing = samples.source.preprocessing
    return Made(lambda: samples, len(samples), line, "given", preprocessing), (samples, None)


def _for(given: Inputs, preprocessing: Preprocessing | None) -> Preprocessing | None:
    """The preprocessing of what is explained, for calibration samples, which arrays have behind them."""
    return preprocessing if given.pixels or isinstance(given.given, str | Path) else None


def _mip_in_tensor(net: Network, inverses: Inverses | None, targets: Indices, named: str | None) -> str:
    """Where MIP-IN ends: the tensor named; by default where the inverses that are given end."""
    part = faced(net, np.unique(targets))[0]
    if inverses is None:
        return MipIn(MipIn.checked({"calibration": ()})).explained(part, named)
    ends = None if named == AUTO else named
    way = MipIn(MipIn.checked({"inverse": dict(inverses)}))
    tensor = way.explained(part, ends) if ends is None or len(inverses) else named
    assert tensor is not None
    for one in inverses.values():
        if tensor not in one.plan.step_of:
            raise InvalidData(
                f"tensor {tensor!r} is not between the logits and {one.plan.explained!r}, where the inverse ends"
            )
    return tensor


def _check_classes(net: Network, names: ClassNames, inverses: Inverses, targets: Indices, files: Sequence[str]) -> None:
    for row, some in enumerate(targets.tolist()):
        for c in some:
            if c not in inverses:
                there = ", ".join(told_target(net.target(one)) for one in inverses)
                raise InvalidData(
                    f"there is no inverse of {names.of(c)} ({told_target(net.target(c))}), asked for of {files[row]}; "
                    f"there are those of classes {there}: name one of them as the target, or give no inverse"
                )


def _told(net: Network, some: Indices) -> Any:
    """Targets [n] as methods take them: one for all where they are the same."""
    told = [net.target(int(c)) for c in some]
    if len(set(told)) == 1:
        return told[0]
    return told if isinstance(told[0], tuple) else np.array(told, np.int64)


def _told_tensor(net: Network, tensor: str, at: str | None, given: bool) -> str:
    if at == AUTO and not given and tensor in net.shapes:
        return told_of(net, tensor)
    return f"explained at {tensor!r}" + (", the input" if tensor == net.input else "")


def _tell_cost(net: Network, fits: Fits, classes: Sequence[int], forward: float, tell: Tell) -> None:
    """Say what a fit down to the input will take where that is long: inner tensors take seconds."""
    if fits.tensor != net.input:
        return
    seconds = fits.seconds(len(classes), classes[0], forward)
    if seconds >= LONG:
        much = f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{max(1, round(seconds / 60))} minutes"
        less = "; explained at 'auto' it takes seconds" if feature_maps(net) else ""
        tell(
            f"fitting {len(fits.plan(classes[0]).fitted)} tensors of {len(classes)} classes on {fits.made.count} "
            f"samples takes about {much}{less}"
        )


def _told_fit(classes: int, kept: int) -> str:
    what = "the inverse of 1 class" if classes == 1 else f"the inverses of {classes} classes"
    if kept == classes:
        return f"{what}: kept from an earlier run"
    return f"{what}: fitted" + (f", {kept} of them kept from an earlier run" if kept else "")
