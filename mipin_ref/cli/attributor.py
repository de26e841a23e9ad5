"""What `mipin explain` attributes with: a fitted inverse, or a method and its options."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mipin_ref as mr
from mipin_ref.cli.files import Fitted, open_calibration, told_of
from mipin_ref.errors import InvalidData
from mipin_ref.layers import HostArray
from mipin_ref.methods.attribute import explained
from mipin_ref.methods.registry import make_method, needs_patterns
from mipin_ref.panel import MIPIN


@dataclass(frozen=True)
class Attributor:
    """attribute: of a batch x [n, *input_shape]; header: what is stored beside the arrays of how they were made;
    fitted: the file that was read of it, where the preprocessing of its calibration data is known.
    """

    attribute: Callable[[HostArray], mr.Attribution]
    tensor: str
    target: int
    dtype: str
    header: Mapping[str, Any] = field(default_factory=dict)
    fitted: Fitted | None = None


def by_inverse(net: mr.Network, options: Namespace) -> Attributor:
    """Raises InvalidData where the inverse does not reach `--at`, and for options of other methods."""
    for name in ("option", "dtype"):
        if getattr(options, name):
            raise InvalidData(f"--{name} is for --method; an inverse was fitted with its own")
    _refuse_patterns(options)
    inverse = mr.load_inverse(options.inverse, net, target=options.target, backend=options.backend)
    tensor = inverse.plan.explained if options.at is None else net.tensor(options.at)
    if tensor not in inverse.plan.step_of:
        raise InvalidData(
            f"--at: tensor {options.at!r} is not between the logits and {inverse.plan.explained!r}, where the inverse "
            f"{options.inverse!r} ends"
        )
    known = inverse.preprocessing
    return Attributor(
        lambda x: inverse.attribute(x, at=tensor),
        tensor,
        inverse.target,
        inverse.options.dtype,
        {"follows_logit": inverse.follows_logit},
        fitted=None if known is None else Fitted(options.inverse, known, "the inverse was fitted"),
    )


def by_method(net: mr.Network, options: Namespace) -> Attributor:
    """Raises InvalidData for an unknown method or option, without a target, and where patterns are missing."""
    given = parsed_options(options.option)
    dtype, backend = options.dtype or "float64", options.backend
    header, fitted = {"options": dict(given), "dtype": dtype}, None
    if needs_patterns(options.method):
        given["patterns"] = patterns = _patterns(net, options, dtype)
        if options.patterns is not None and patterns.preprocessing is not None:
            fitted = Fitted(options.patterns, patterns.preprocessing, "the patterns were fitted")
        header["patterns"] = {"file": options.patterns, "calibration": options.calibration, "samples": patterns.samples}
    else:
        _refuse_patterns(options)
    method = make_method(options.method, given)
    tensor, target = explained(method, net, options.at), _target(net, options)
    header |= {"method": method.name, "follows_logit": method.follows_logit}

    def attribute(x: HostArray) -> mr.Attribution:
        return mr.attribute(net, x, target, method.name, at=tensor, backend=backend, dtype=dtype, **given)

    return Attributor(attribute, tensor, target, dtype, header, fitted)


def _target(net: mr.Network, options: Namespace) -> int:
    if options.target is None:
        raise InvalidData("--method needs --target, the class to explain")
    return net.check_target(options.target)


def _patterns(net: mr.Network, options: Namespace, dtype: str) -> mr.Patterns:
    """Patterns read, or fitted down to what is explained. Raises InvalidData before a fit that would be in vain."""
    if options.option:
        raise InvalidData(f"method {options.method!r} takes no --option but --patterns or --calibration")
    if (options.patterns is None) == (options.calibration is None):
        raise InvalidData(
            f"method {options.method!r} needs --patterns FILE, which `mipin patterns` writes, or --calibration DATA to "
            "fit them on, and not both"
        )
    _target(net, options)
    calibration = open_calibration(options, net)
    if calibration is None:
        return mr.load_patterns(options.patterns, net)
    for line in told_of(options.calibration, calibration):
        print(line, flush=True)
    return mr.fit_patterns(net, calibration, at=options.at, backend=options.backend, dtype=dtype, progress=True)


def _refuse_patterns(options: Namespace) -> None:
    for name in ("patterns", "calibration", "calibration_key", "calibration_limit"):
        if getattr(options, name) is not None:
            raise InvalidData(f"--{name.replace('_', '-')} is for --method patternnet or pattern-attribution")


def method_options(given: Sequence[str], methods: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """METHOD.NAME=VALUE texts as options by method; methods: those asked for, all where None.

    Raises InvalidData for a text of another form, an option given twice, and one of a method that is not asked for.
    """
    texts: dict[str, list[str]] = {}
    for text in given:
        method, dot, rest = text.partition(".")
        if not dot or not method or "=" in method or "=" not in rest:
            raise InvalidData(f"--option must look like smoothgrad.samples=50, not {text!r}")
        if methods is not None and method in (MIPIN, *mr.methods()) and method not in methods:
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
