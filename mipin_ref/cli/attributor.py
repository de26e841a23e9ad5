"""What `mipin explain` attributes with: a fitted inverse, or a method and its options."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mipin_ref as mr
from mipin_ref.errors import InvalidData
from mipin_ref.graph.layer import Array
from mipin_ref.methods.attribute import explained
from mipin_ref.methods.registry import make_method


@dataclass(frozen=True)
class Attributor:
    """attribute: of a batch x [n, *input_shape]; header: what is stored beside the arrays of how they were made."""

    attribute: Callable[[Array], mr.Attribution]
    tensor: str
    target: int
    dtype: str
    header: Mapping[str, Any] = field(default_factory=dict)


def by_inverse(net: mr.Network, options: Namespace) -> Attributor:
    """Raises InvalidData where the inverse does not reach `--at`, and for options of other methods."""
    for name in ("option", "dtype"):
        if getattr(options, name):
            raise InvalidData(f"--{name} is for --method; an inverse was fitted with its own")
    inverse = mr.load_inverse(options.inverse, net, target=options.target, backend=options.backend)
    tensor = inverse.plan.explained if options.at is None else net.tensor(options.at)
    if tensor not in inverse.plan.step_of:
        raise InvalidData(
            f"--at: tensor {options.at!r} is not between the logits and {inverse.plan.explained!r}, where the inverse "
            f"{options.inverse!r} ends"
        )
    return Attributor(lambda x: inverse.attribute(x, at=tensor), tensor, inverse.target, inverse.options.dtype)


def by_method(net: mr.Network, options: Namespace) -> Attributor:
    """Raises InvalidData for an unknown method or option, and without a target."""
    given = parsed_options(options.option)
    method = make_method(options.method, given)
    if options.target is None:
        raise InvalidData("--method needs --target, the class to explain")
    tensor, target = explained(method, net, options.at), net.check_target(options.target)
    dtype, backend = options.dtype or "float64", options.backend
    header = {"method": method.name, "options": given, "dtype": dtype}

    def attribute(x: Array) -> mr.Attribution:
        return mr.attribute(net, x, target, method.name, at=tensor, backend=backend, dtype=dtype, **given)

    return Attributor(attribute, tensor, target, dtype, header)


def parsed_options(given: Sequence[str], example: str = "samples=50") -> dict[str, Any]:
    """NAME=VALUE texts as a dict; a value that is JSON is read as such, any other is a text.

    Raises InvalidData, showing the example, for a text of another form, and for a name given twice.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise InvalidData(f"--option must look like {example}, not {text!r}")
        if name in found:
            raise InvalidData(f"--option {name} is given twice")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found
