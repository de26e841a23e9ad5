"""What `mipin compare` is given, checked before anything is computed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mipin_ref as mr
from mipin_ref.cli.asked import ALL, Asked, methods_asked, told_of_left_out, told_of_without
from mipin_ref.cli.files import asked_preprocessing, tell_broken, told_of, told_of_turned
from mipin_ref.cli.method_options import checked_fit_options, method_options
from mipin_ref.cli.pictures import image_size
from mipin_ref.cli.places import Places
from mipin_ref.cli.tokens import Tokens, told_of_ids
from mipin_ref.data import Preprocessing, Samples, names_of, read_readable
from mipin_ref.errors import InvalidData
from mipin_ref.explain.cache import Cache
from mipin_ref.explain.calibration import calibration_from
from mipin_ref.explain.chosen import choose
from mipin_ref.explain.inputs import Inputs
from mipin_ref.explain.predict import Net
from mipin_ref.explain.settle import INPUT
from mipin_ref.explain.texts import TextRun
from mipin_ref.graph.explained import AUTO, automatic, explained
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.inverse.fit import FitOptions
from mipin_ref.inverse.options import Options
from mipin_ref.layers import HostArray
from mipin_ref.panel.registry import METHODS, fit_is_asked, method_named
from mipin_ref.progress import progress_bar
from mipin_ref.text import one_line

LIMIT = 20
MOST = 200
"""Images that a page may show: its size and the memory grow with them."""


def tensor_of(options: Namespace, net: Net, places: Places) -> tuple[str, str | None]:
    """The tensor that all methods explain: that of `--at`; by default the last map, as in `explain`, else as far down
    as inverses exist: down to pixels takes long. Of what is no image it is the input.

    And, where there is none that methods which go back through layers can explain, why; None else.
    Raises InvalidData where the network has no such tensor, or it is no map.
    """
    at = AUTO if options.at is None else options.at
    named = net.input if at == INPUT and INPUT not in net.shapes else at
    if isinstance(net, ForwardOnly):
        return (net.input if named == AUTO else net.tensor(named)), net.reason
    if places.kind == "tokens":
        return _of_tokens(net, named, places)
    if places.flat:
        if named != AUTO and net.tensor(named) != net.input:
            raise InvalidData(
                f"compare shows the {places.part}s of what is no image, so that it explains the input {net.input!r}, "
                f"and not {options.at!r}: leave --at out"
            )
        return net.input, _blocked(net, net.input) if net.input in net.blocked else None
    tensor = explained(net, named if named == AUTO else net.told_tensor(named))
    if image_size(net, tensor) is None:
        if options.at is None:
            return net.input, _blocked(net, tensor)
        raise InvalidData(
            f"compare shows maps of images, and tensor {tensor!r} of shape {list(net.shapes[tensor])} is none; name "
            "another with --at"
        )
    return tensor, None


def _of_tokens(net: mr.Network, named: str, places: Places) -> tuple[str, str | None]:
    """The same of ids: by default the rows that they look up in a table, else as far down as inverses exist, where
    that is a tensor of the same tokens.
    """
    one = net.embeddings[0] if len(net.embeddings) == 1 else None
    tensor = (automatic(net) if one is None or one in net.blocked else one) if named == AUTO else net.told_tensor(named)
    if tensor == net.input or (named == AUTO and not places.fit(net, tensor)):
        return net.input, _blocked(net, net.input) if net.input in net.blocked else None
    if tensor in net.blocked:
        raise net.unreached(tensor)
    if not places.fit(net, tensor):
        other = "" if one is None else f", as {one!r} is"
        raise InvalidData(
            f"compare shows the tokens of texts, and tensor {tensor!r} of shape {list(net.shapes[tensor])} is not of "
            f"the {places.size[1]} tokens of a sample: name one that is with --at{other}"
        )
    return tensor, None


def _blocked(net: mr.Network, tensor: str) -> str:
    """Why only the forward pass leads to the input."""
    if tensor != net.input:
        return f"as inverses reach no further down than tensor {tensor!r}, which is no map"
    return f"as nodes have no inverse ({net.no_inverse})"


def make_panel(
    options: Namespace, net: Net, tensor: str, alone: str | None, calibration: Callable[[], Samples]
) -> mr.Panel:
    """The methods with their options; alone: why only those of the forward pass are run, None where others are too;
    calibration: opens the samples to fit on, where there is something to fit.

    Raises InvalidData for an unknown method, an option that is not of its method, and one of a method not asked for.
    """
    fit_options, by_method = _method_options(options)
    asked = _asked(options, alone, net)
    if asked.without and alone is not None:
        print(one_line(told_of_without(asked.without, alone)), flush=True)
    for line in left_out_line(options, alone):
        print(line, flush=True)
    fitted = any(METHODS[name].fitting is not None for name in asked.names)
    return mr.Panel(
        net,
        calibration() if fitted else None,
        names=asked.names,
        fit_options=FitOptions(**fit_options),  # type: ignore[typeddict-item]
        fitted_to=None if tensor == net.input else tensor,
        method_options=by_method,
        backend=options.backend,
        dtype=options.dtype,
        memory=options.memory,
        progress=True,
    )


def left_out_line(options: Namespace, alone: str | None) -> list[str]:
    """A line on the methods that run only where they are named; none where there are none. alone: as `make_panel`."""
    names = _asked(options, alone, None).left_out
    return [told_of_left_out(names)] if names else []


def _asked(options: Namespace, alone: str | None, net: Net | None) -> Asked:
    given = method_options(options.option, options.methods)
    return methods_asked(options.methods, given, alone=alone, net=net if isinstance(net, mr.Network) else None)


def check_options(options: Namespace) -> None:
    """Raises InvalidData as `make_panel` does, before anything is read."""
    if options.methods is not None:
        for name in options.methods:
            if [*options.methods] != [ALL]:
                method_named(name)
    if options.limit is not None and options.limit > MOST:
        raise InvalidData(f"--limit: a page shows at most {MOST} images, not {options.limit}")
    if options.calibration is None and (options.calibration_key or options.calibration_limit):
        raise InvalidData("--calibration-key and --calibration-limit go with --calibration")
    _method_options(options)


def _method_options(options: Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of fits, and those of the other methods by their names."""
    by_method = method_options(options.option, options.methods)
    fit_options: dict[str, Any] = {}
    for method, given in list(by_method.items()):
        fitting = METHODS[method].fitting if method in METHODS else None
        if fitting is not None and fitting.option in given:
            raise InvalidData(f"--option {method}.{fitting.option}: {fitting.made} come from --calibration")
        if method in METHODS and fit_is_asked([method]):
            fit_options |= checked_fit_options(method, by_method.pop(method))
    Options(**fit_options, dtype=options.dtype)
    return fit_options, by_method


def open_calibration(options: Namespace, net: Net, images: Shown, run: TextRun | None) -> tuple[Samples, str]:
    """The samples that methods are fitted on, and a line on them: those of `--calibration`, preprocessed as the images
    are; by default crops, flips and mosaics of the images.
    """
    if options.calibration is None:
        made = calibration_from(images.inputs, images.preprocessing, images.positions)
        print(made.line, flush=True)
        return made.build(), made.line.removeprefix("calibration: ")
    given = Inputs.of(
        net,
        options.calibration if run is None else run.calibration,
        key=options.calibration_key,
        limit=options.calibration_limit,
        exif=options.exif,
        option="calibration_key",
    )
    data = given.open(images.preprocessing)
    for line in told_of(options.calibration, data):
        print(line, flush=True)
    return data, Path(options.calibration).name


@dataclass(frozen=True, eq=False)
class Shown:
    """The images to show.

    x: [n, *input_shape]; positions: [n] of them in the data; count: how many there are in the data; first: of how many
    of them those that can be read are shown; names: [n] of their files, None of arrays; code: 1 where image files were
    left out that could not be read; inputs: the data as they are stored; preprocessing: what was done to them, None of
    arrays that are as the network reads them; line: which and why, where that is not said by an option;
    tokens: those of ids, None of anything else.
    """

    x: HostArray
    positions: Sequence[int]
    count: int
    first: int
    names: Sequence[str] | None
    code: int
    inputs: Inputs
    preprocessing: Preprocessing | None
    line: str
    tokens: Tokens | None


def stored_inputs(options: Namespace, net: Net, run: TextRun | None) -> Inputs:
    """The images as they are stored; run: of texts, None where there are none."""
    return Inputs.of(net, options.images if run is None else run.images, key=options.key, exif=options.exif)


def read_images(options: Namespace, net: Net, inputs: Inputs, run: TextRun | None) -> Shown:
    """The images to show, among the first `--limit`, and a line on what was done to them: what is asked for, what the
    model or a file beside it tells, or a guess, as in `explain`.

    Raises InvalidData for NaN and Inf.
    """
    limit = LIMIT if options.limit is None else options.limit
    with progress_bar(True) as begin:
        chosen = choose(net, inputs, asked_preprocessing(options), None, Path(options.model), Cache(None), begin)
    data = inputs.open(chosen.preprocessing)
    plain = told_of_ids(inputs.shape, run) if inputs.tokens else Preprocessing(shape=net.input_shape).describe()
    print(f"{options.images}: {chosen.line or plain}", flush=True)
    for line in told_of(options.images, data):
        print(line, flush=True)
    read = read_readable(data, 0, limit)
    code = tell_broken(read.failures, min(limit, len(data)))
    for line in told_of_turned(options.images, data):
        print(line, flush=True)
    for number, one in zip(read.positions, read.x, strict=True):
        if not np.isfinite(one).all():
            raise InvalidData(f"{options.images}: {inputs.noun} {number} holds NaN or Inf")
    names = names_of(data)
    named = None if names is None else [names[i] for i in read.positions]
    return Shown(
        x=read.x,
        positions=read.positions,
        count=len(data),
        first=min(limit, len(data)),
        names=named,
        code=code,
        inputs=inputs,
        preprocessing=chosen.preprocessing,
        line=chosen.line,
        tokens=Tokens.of(read.x, read.positions, run) if inputs.tokens else None,
    )
