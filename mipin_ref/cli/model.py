"""The network of a command, with what the command line says of its inputs; what is said of where its inverses end."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import mipin_ref as mr
from mipin_ref.cli.arguments import Bound
from mipin_ref.data import open_array
from mipin_ref.errors import InvalidData, UnsupportedModel
from mipin_ref.explain.texts import TextRun
from mipin_ref.graph.explained import AUTO, told_of
from mipin_ref.graph.forward_only import ForwardOnly
from mipin_ref.panel.fallback import open_any

OPEN_INPUT = re.compile(r"leaves ax[ie]s .* of input '([^']+)' \w+ \[([^\]]*)\] open: .*option 'input_shape'")
"""How `load` tells the input whose sizes a file leaves open."""


def load_model(options: Namespace) -> mr.Network:
    """The network of MODEL, by `--output`, `--input-shape`, `--given` and `--input`. Raises as `mr.load` does."""
    with _flag_told():
        return mr.load(options.model, **opening(options))


def open_model(options: Namespace, run: TextRun | None = None) -> mr.Network | ForwardOnly:
    """The same, or the file for its forward pass alone where it has no inverse; run: of texts that it is opened for.

    Raises as `open_any` does.
    """
    told = opening(options)
    if run is not None and run.input_shape is not None:
        told["input_shape"] = run.input_shape
    explained = told.pop("input")
    if run is not None and run.input is not None:
        explained = run.input
    with _flag_told():
        try:
            return open_any(options.model, **told, input=explained)
        except mr.MipinError as error:
            raise error if run is None else run.told(error) from error


@contextmanager
def _flag_told() -> Iterator[None]:
    """Adds the flag to an error on sizes that a file leaves open, with an example of them."""
    try:
        yield
    except UnsupportedModel as error:
        open_input = OPEN_INPUT.search(str(error))
        if open_input is None:
            raise
        name, sizes = open_input[1], open_input[2].split(", ")[1:]
        usual = "224" if len(sizes) == 3 else "100"
        example = "x".join(one if one.isdecimal() else usual for one in sizes)
        raise UnsupportedModel(f"{error}, as --input-shape {name}:1x{example}", error.nodes) from error


def opening(options: Namespace) -> dict[str, Any]:
    """What the options say of a model's inputs and outputs, as `mr.load` takes it."""
    sizes = _once("--input-shape", options.input_shape)
    given = {name: _value(name, told) for name, told in _once("--given", options.given).items()}
    named = {"input_shape": sizes or None, "given": given or None, "input": options.input}
    return {"output": options.output, **named}


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
