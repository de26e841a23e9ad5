"""The names of a table's features: as given, else as the model's metadata tell them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from typing import Any

from mipin_ref.errors import InvalidData
from mipin_ref.explain.class_names import literal
from mipin_ref.explain.inputs import read_lines
from mipin_ref.explain.predict import Net
from mipin_ref.graph.columns import FEATURE_NAMES
from mipin_ref.graph.explained import AUTO, automatic
from mipin_ref.graph.network import Network
from mipin_ref.text import printable

KEYS = (FEATURE_NAMES, "features", "feature_names_in_", "columns")
"""Entries of a model's metadata that hold names of features; that of a model whose columns were inputs is made of the
inputs' names."""
LONGEST = 1000
"""Characters of a name that is taken from metadata, at most."""


def feature_names_of(net: Net) -> tuple[str, ...] | None:
    """The names that the metadata tell: JSON, a list as Python writes it, names between commas or in lines; None where
    there are not as many as the network's input has values.
    """
    if not _is_row(net):
        return None
    for key in KEYS:
        names = literal(net.metadata.get(key))
        if isinstance(names, list | tuple) and len(names) == prod(net.input_shape):
            told = tuple(printable(str(name)) for name in names)
            if all(isinstance(name, str | int | float) for name in names) and max(map(len, told)) <= LONGEST:
                return told
    return None


def given_feature_names(net: Net, given: str | os.PathLike[str], at: str | None) -> list[str]:
    """The names of a file. at: the tensor that is asked for.

    Raises InvalidData, before anything is computed, where that is not the input, which these are of, and where the
    input is no row of as many features.
    """
    names = read_lines(given)
    if not _is_row(net):
        raise InvalidData(
            f"feature names are those of table rows, and the input {net.input!r} of shape {list(net.input_shape)} is "
            "none: leave option 'feature_names' out"
        )
    if len(names) != prod(net.input_shape):
        raise InvalidData(
            f"{os.fspath(given)}: names {len(names)} features; the input {net.input!r} has {prod(net.input_shape)}"
        )
    meant = automatic(net) if at == AUTO and isinstance(net, Network) else at
    if meant not in (None, AUTO, net.input, "input"):
        raise InvalidData(
            f"feature names are those of the input {net.input!r}, and {meant!r} is explained: leave option "
            "'feature_names' out, or explain the input"
        )
    return names


def names_for(net: Net, tensor: str, given: Sequence[str] | None) -> Sequence[str] | None:
    """The names of the features of a tensor that is explained: those given, else the metadata's; None inside."""
    return given if given is not None or tensor != net.input else feature_names_of(net)


def _is_row(net: Any) -> bool:
    return max(net.input_shape, default=1) == prod(net.input_shape) and not net.whole
