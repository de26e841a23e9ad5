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


def load_model(options: Namespace) -> mr.Network:
    """The network of MODEL, by `--output`, `--input-shape`, `--given` and `--input`. Raises as `mr.load` does."""
    sizes = _once("--input-shape", options.input_shape)
    given = {name: _value(name, told) for name, told in _once("--given", options.given).items()}
    told: dict[str, Any] = {"input_shape": sizes or None, "given": given or None, "input": options.input}
    return mr.load(options.model, output=options.output, **told)


def told_of_end(net: mr.Network, tensor: str, at: str | None) -> list[str]:
    """A line on what "auto" chose; at: what was asked for."""
    return [told_of(net, tensor)] if at == AUTO else []


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
