"""The network of a command, with what the command line says of its inputs; what is said of where its inverses end."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import mipin_ref as mr
from mipin_ref.cli.arguments import Bound
from mipin_ref.data import open_array
from mipin_ref.errors import InvalidData
from mipin_ref.graph.explained import AUTO, told_of
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.panel.fallback import open_any


def load_model(options: Namespace) -> mr.Network:
    """The network of MODEL, as `--output`, `--input-shape` and `--given` have it. Raises as `mr.load` does."""
    return mr.load(options.model, **_opening(options))


def open_model(options: Namespace) -> mr.Network | ForwardOnly:
    """The same, or the file for its forward pass alone where it has no inverse. Raises as `open_any` does."""
    return open_any(options.model, **_opening(options))


def _opening(options: Namespace) -> dict[str, Any]:
    sizes = _once("--input-shape", options.input_shape)
    given = {name: _value(name, told) for name, told in _once("--given", options.given).items()}
    return {"output": options.output, "input_shape": sizes or None, "given": given or None}


def told_of_end(net: mr.Network | ForwardOnly, tensor: str, at: str | None) -> list[str]:
    """A line on what "auto" chose; at: what was asked for."""
    return [told_of(net, tensor)] if at == AUTO and isinstance(net, mr.Network) else []


def _value(name: str, told: Bound) -> Any:
    return open_array(told, (name, "x")) if isinstance(told, str) else told


def _once(option: str, told: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    """By input name. Raises InvalidData for a name that is there twice."""
    found: dict[str, Any] = {}
    for name, value in told:
        if name in found:
            raise InvalidData(f"{option} is given twice for input {name!r}")
        found[name] = value
    return found
