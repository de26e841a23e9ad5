"""What `mipin explain` attributes with: a fitted inverse, or a method and its options."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mipin_ref as mr
from mipin_ref.cli.asked import ALL
from mipin_ref.cli.files import Fitted, open_calibration, told_of
from mipin_ref.data import Samples
from mipin_ref.errors import InvalidData
from mipin_ref.graph.explained import AUTO
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.graph.targeted import Targeted
from mipin_ref.inverse.options import METHOD_OPTIONS
from mipin_ref.layers import HostArray
from mipin_ref.methods.fitting import Fitting
from mipin_ref.methods.patterns import PatternFitting
from mipin_ref.panel.attribute import inverted
from mipin_ref.panel.mip_in import InverseFitting
from mipin_ref.panel.registry import METHODS, make_method, method_named


@dataclass(frozen=True)
class Attributor:
    """attribute: of a batch x [n, *input_shape]; header: what is stored beside the arrays of how they were made;
    fitted: the file that was read of it, where the preprocessing of its calibration data is known.
    """

    attribute: Callable[[HostArray], mr.Attribution]
    tensor: str
    target: int | tuple[int, ...]
    dtype: str
    header: Mapping[str, Any] = field(default_factory=dict)
    fitted: Fitted | None = None


def by_inverse(net: mr.Network, options: Namespace) -> Attributor:
    """Raises InvalidData where the inverse does not reach `--at`, and for options of other methods."""
    for name in ("option", "dtype"):
        if getattr(options, name):
            raise InvalidData(f"--{name} is for --method; an inverse was fitted with its own")
    _refuse_fitting(options, None)
    inverse = mr.load_inverse(options.inverse, net, target=options.target, backend=options.backend)
    tensor = inverse.plan.explained if options.at in (None, AUTO) else net.tensor(options.at)
    if tensor not in inverse.plan.step_of:
        raise InvalidData(
            f"--at: tensor {options.at!r} is not between the logits and {inverse.plan.explained!r}, where the inverse "
            f"{options.inverse!r} ends"
        )
    known = inverse.preprocessing
    return Attributor(
        lambda x: inverse.attribute(x, at=tensor),
        tensor,
        net.target(inverse.target),
        inverse.options.dtype,
        {"follows_logit": inverse.follows_logit},
        fitted=None if known is None else Fitted(options.inverse, known, "the inverse was fitted"),
    )


def by_method(net: mr.Network | ForwardOnly, options: Namespace) -> Attributor:
    """Raises InvalidData for an unknown method or option, without a target, and where what it needs is missing."""
    fitting = method_named(options.method).fitting
    given = parsed_options(options.option)
    dtype, backend = options.dtype or "float64", options.backend
    header: dict[str, Any] = {"options": dict(given), "dtype": dtype}
    fitted = None
    _refuse_fitting(options, fitting)
    if fitting is not None:
        net = inverted(net, options.method)
        value, told, fitted = FITTED[fitting](net, options, given, dtype)
        given = {fitting.option: value}
        header[fitting.option] = told
    method = make_method(options.method, given)
    target = _target(net, options)
    part: Any = net if isinstance(net, ForwardOnly) else facing(net, net.check_target(target))[0]
    tensor = method.explained(part, options.at)
    header |= {"method": method.name, "follows_logit": method.follows_logit}

    def attribute(x: HostArray) -> mr.Attribution:
        return mr.attribute(net, x, target, method.name, at=tensor, backend=backend, dtype=dtype, **given)

    return Attributor(attribute, tensor, target, dtype, header, fitted)


def _target(net: Targeted, options: Namespace) -> int | tuple[int, ...]:
    if options.target is None:
        raise InvalidData("--method needs --target, the class to explain")
    return net.target(net.check_target(options.target))


Result = tuple[Any, dict[str, Any], Fitted | None]
"""What was fitted, what is stored of it beside the arrays, and the file that was read of it."""


def _patterns(net: mr.Network, options: Namespace, given: Mapping[str, Any], dtype: str) -> Result:
    """Patterns read, or fitted down to what is explained. Raises InvalidData before a fit that would be in vain."""
    if given:
        raise InvalidData(f"method {options.method!r} takes no --option but --patterns or --calibration")
    if (options.patterns is None) == (options.calibration is None):
        raise InvalidData(
            f"method {options.method!r} needs --patterns FILE, which `mipin patterns` writes, or --calibration DATA to "
            "fit them on, and not both"
        )
    _target(net, options)
    calibration, file = _calibration(net, options), None
    if calibration is None:
        patterns = mr.load_patterns(options.patterns, net)
        if patterns.preprocessing is not None:
            file = Fitted(options.patterns, patterns.preprocessing, "the patterns were fitted")
    else:
        patterns = mr.fit_patterns(net, calibration, at=options.at, backend=options.backend, dtype=dtype, progress=True)
    told = {"file": options.patterns, "calibration": options.calibration, "samples": patterns.samples}
    return patterns, told, file


def _inverse(net: mr.Network, options: Namespace, given: Mapping[str, Any], dtype: str) -> Result:
    """An inverse fitted down to what is explained. Raises InvalidData before a fit that would be in vain."""
    fit_options: Any = checked_fit_options(options.method, given)
    target, calibration = _target(net, options), _calibration(net, options)
    if calibration is None:
        raise InvalidData(
            f"method {options.method!r} needs --calibration DATA to fit an inverse on; one that `mipin fit` wrote is "
            "given as --inverse FILE in place of --method"
        )
    inverse = mr.fit(
        net,
        calibration,
        target,
        at=options.at,
        backend=options.backend,
        dtype=dtype,
        progress=True,
        **fit_options,
    )
    # A fit in single precision may have turned out to need double.
    told = {"calibration": options.calibration, "samples": inverse.samples, "dtype": inverse.options.dtype}
    return inverse, told, None


FITTED: Mapping[type[Fitting], Callable[[mr.Network, Namespace, Mapping[str, Any], str], Result]] = {
    PatternFitting: _patterns,
    InverseFitting: _inverse,
}
"""How what a method needs is read or fitted: (network, options of the command, those of the method, dtype)."""


def checked_fit_options(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Raises InvalidData for an option that is not one of METHOD_OPTIONS."""
    for name in given:
        if name not in METHOD_OPTIONS:
            raise InvalidData(f"method {method!r} has no option {name!r}; its options are {', '.join(METHOD_OPTIONS)}")
    return dict(given)


def _calibration(net: mr.Network, options: Namespace) -> Samples | None:
    """What `--calibration` names, and a line on what was done to it; None without it."""
    calibration = open_calibration(options, net)
    for line in [] if calibration is None else told_of(options.calibration, calibration):
        print(line, flush=True)
    return calibration


def _refuse_fitting(options: Namespace, fitting: type[Fitting] | None) -> None:
    """Raises InvalidData for options that name what is fitted, or fitted on, where the method is not fitted so."""
    for name, kind in (
        ("patterns", PatternFitting),
        ("calibration", Fitting),
        ("calibration_key", Fitting),
        ("calibration_limit", Fitting),
    ):
        if getattr(options, name) is not None and (fitting is None or not issubclass(fitting, kind)):
            *others, last = [one for one, facts in METHODS.items() if facts.fitting and issubclass(facts.fitting, kind)]
            raise InvalidData(f"--{name.replace('_', '-')} is for --method {', '.join(others)} or {last}")


def method_options(given: Sequence[str], methods: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """METHOD.NAME=VALUE texts as options by method; methods: those asked for, all where None.

    Raises InvalidData for a text of another form, an option given twice, and one of a method that is not asked for.
    """
    texts: dict[str, list[str]] = {}
    for text in given:
        method, dot, rest = text.partition(".")
        if not dot or not method or "=" in method or "=" not in rest:
            raise InvalidData(f"--option must look like smoothgrad.samples=50, not {text!r}")
        if methods is not None and [*methods] != [ALL] and method in METHODS and method not in methods:
            raise InvalidData(f"--option {text}: {method} is not among the --methods")
        texts.setdefault(method, []).append(rest)
    return {method: parsed_options(rest) for method, rest in texts.items()}


def parsed_options(given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE texts as a dict; a value that is JSON is read as such, any other is a text."""
    options: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise InvalidData(f"--option must look like samples=50, not {text!r}")
        if name in options:
            raise InvalidData(f"--option {name} is given twice")
        try:
            options[name] = json.loads(value)
        except RecursionError as error:
            raise InvalidData(f"--option {name}: its value is nested too deeply") from error
        except ValueError:  # no JSON, or a number of thousands of digits
            options[name] = value
    return options
