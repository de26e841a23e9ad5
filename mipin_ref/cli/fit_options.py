"""The options of a fit on the command line, as `inverse.options` states them."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any

from mipin_ref.cli.arguments import number
from mipin_ref.inverse.options import DEFAULTS, OPTIONS, TYPES


def add_fit_options(parser: argparse.ArgumentParser, *, but: Collection[str] = ()) -> None:
    """An argument for every option but those named, which the command sets itself."""
    for name in OPTIONS:
        if name not in but:
            _add(parser, name, TYPES[name])


def _add(parser: argparse.ArgumentParser, name: str, kind: str) -> None:
    option, default, flag = OPTIONS[name], DEFAULTS[name], f"--{name.replace('_', '-')}"
    stated = f"{option.told} (default {default:g})" if kind == "float" else option.told
    if option.choices:
        parser.add_argument(flag, choices=option.choices, default=default, help=f"{option.told} (default {default})")
    elif kind == "bool" and option.off is not None:
        parser.add_argument(f"--{option.off}", dest=name, action="store_false", help=stated)
    elif kind == "bool":
        parser.add_argument(flag, action="store_true", help=stated)
    elif kind == "bool | None":
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=stated)
    elif kind == "float":
        parser.add_argument(flag, type=number, default=default, help=stated)
    elif kind == "str | None":
        parser.add_argument(flag, metavar="TENSOR", default=default, help=stated)
    else:
        raise TypeError(f"the command line knows no option of type {kind}: {name}")


def fit_options(options: argparse.Namespace) -> dict[str, Any]:
    """What was given of them, by name, for `fit`."""
    return {name: value for name, value in vars(options).items() if name in OPTIONS}
