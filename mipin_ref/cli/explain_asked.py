"""What the options of `mipin explain` ask for, as the library takes it."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from typing import Any

import mipin_ref as mr
from mipin_ref.cli.arguments import targets
from mipin_ref.cli.files import asked_preprocessing
from mipin_ref.cli.method_options import one_methods_options
from mipin_ref.errors import InvalidData
from mipin_ref.explain.asked import Asked
from mipin_ref.explain.chosen import Fitted
from mipin_ref.explain.targets import PREDICTED, Several
from mipin_ref.graph.explained import AUTO
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.methods.patterns import PatternFitting
from mipin_ref.panel.attribute import inverted
from mipin_ref.panel.registry import METHODS, method_named

AT = "at"
"""The option of MIP-IN that is an argument of the command, too."""


def asked_of(options: Namespace, net: mr.Network | ForwardOnly) -> Asked:
    """Raises InvalidData for options that do not go together."""
    method = "mip-in" if options.method is None else options.method
    by_inverses, fitting = method_named(method).takes_inverses(), method_named(method).fitting
    given = one_methods_options(options.option, method)
    at = options.at
    if AT in given and by_inverses:
        if at is not None:
            raise InvalidData("--at and --option at say the same: give one of them")
        at = given.pop(AT)
    if options.inverse is not None and (given or options.dtype is not None or options.preset is not None):
        name = "option" if given else "dtype" if options.dtype is not None else "preset"
        raise InvalidData(f"--{name} is for --method; an inverse was fitted with its own")
    _refuse_fitting(options, fitting)
    if fitting is PatternFitting and options.option:
        raise InvalidData(f"method {method!r} takes no --option but --patterns or --calibration")
    patterns = _patterns(options, net) if options.patterns is not None else None
    if patterns is not None:
        given = {"patterns": patterns}
    known = None if patterns is None else patterns.preprocessing
    numbers = asked_preprocessing(options)
    # A method that needs no fit explains what it is made for: the pixels, or the last map.
    default = AUTO if by_inverses else None
    return Asked(
        images=options.images,
        target=target_of(options.target),
        method=method,
        at=default if at is None else at,
        calibration=options.calibration,
        inverse=options.inverse,
        top=options.top,
        preprocess=options.preprocess or numbers,
        class_names=options.class_names,
        options=given,
        preset=options.preset,
        dtype=options.dtype,
        backend=options.backend,
        progress=True,
        key=options.key,
        limit=options.limit,
        exif=options.exif,
        calibration_key=options.calibration_key,
        calibration_limit=options.calibration_limit,
        fitted=None if known is None else Fitted("the patterns were fitted", known),
        file=options.patterns,
    )


def target_of(text: str | None) -> Any:
    """The target that a text names: "predicted"; a class, several for every sample, indices as 5:1000; else a name."""
    if text is None or text == PREDICTED:
        return PREDICTED
    try:
        wanted = targets(text)
    except ArgumentTypeError:
        return text
    return wanted[0] if len(wanted) == 1 else Several(tuple(wanted))


def _patterns(options: Namespace, net: mr.Network | ForwardOnly) -> mr.Patterns:
    if options.calibration is not None:
        raise InvalidData(
            f"method {options.method!r} takes --patterns FILE, which `mipin patterns` writes, or --calibration DATA to "
            "fit them on, and not both"
        )
    return mr.load_patterns(options.patterns, inverted(net, options.method))


def _refuse_fitting(options: Namespace, fitting: Any) -> None:
    """Raises InvalidData for options that name what is fitted, or fitted on, where the method is not fitted so."""
    if options.calibration is None and (options.calibration_key or options.calibration_limit):
        raise InvalidData("--calibration-key and --calibration-limit go with --calibration")
    for name, fits in (("patterns", fitting is PatternFitting), ("calibration", fitting is not None)):
        if getattr(options, name) is not None and (not fits or options.inverse is not None):
            wanted = [
                one
                for one, facts in METHODS.items()
                if facts.fitting is not None and (name == "calibration" or facts.fitting is PatternFitting)
            ]
            *others, last = wanted
            raise InvalidData(f"--{name} is for --method {', '.join(others)} or {last}")
