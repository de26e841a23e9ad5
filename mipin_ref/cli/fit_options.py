"""The options of a fit on the command line, as `inverse.options` states them."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any

from mipin_ref.cli.arguments import ridge
from mipin_ref.inverse.options import DEFAULTS, OPTIONS, PRESETS, TYPES, with_preset

OFFERED = "fit_options_offered"
"""What a namespace calls the names of the options that its command takes."""


def add_fit_options(parser: argparse.ArgumentParser, *, but: Collection[str] = ()) -> None:
    """An argument for every option but those named, which the command sets itself.

    One that is not given leaves no trace, so that it is told from one that is given as the default is.
    """
    offered = [name for name in OPTIONS if name not in but]
    for name in offered:
        _add(parser, name, TYPES[name])
    parser.set_defaults(**{OFFERED: offered})


def add_preset(parser: argparse.ArgumentParser) -> None:
    """The argument that stands for several options of a fit."""
    known = ", ".join(PRESETS)
    told = f"options of the fit by one name, {known}; what is given besides holds over it"
    parser.add_argument("--preset", metavar="NAME", help=told)


def _add(parser: argparse.ArgumentParser, name: str, kind: str) -> None:
    option, default, flag = OPTIONS[name], DEFAULTS[name], f"--{name.replace('_', '-')}"
    absent = argparse.SUPPRESS
    stated = f"{option.told} (default {default:g})" if kind == "Ridge" else option.told
    if option.choices:
        parser.add_argument(flag, choices=option.choices, default=absent, help=f"{option.told} (default {default})")
    elif kind == "bool" and option.off is not None:
        parser.add_argument(f"--{option.off}", dest=name, action="store_false", default=absent, help=stated)
    elif kind == "bool":
        parser.add_argument(flag, action="store_true", default=absent, help=stated)
    elif kind == "bool | None":
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=absent, help=stated)
    elif kind == "Ridge":
        parser.add_argument(flag, type=ridge, metavar="L", default=absent, help=stated)
    elif kind == "str | None":
        parser.add_argument(flag, metavar="TENSOR", default=absent, help=stated)
    else:
        raise TypeError(f"the command line knows no option of type {kind}: {name}")


def fit_options(options: argparse.Namespace) -> dict[str, Any]:
    """All of them, by name, for `fit`: as given, else as the preset has them, else the default.

    Raises InvalidData for a preset that there is not.
    """
    there = vars(options)
    given = {name: there[name] for name in there[OFFERED] if name in there}
    defaults = {name: DEFAULTS[name] for name in there[OFFERED]}
    return {**defaults, **with_preset(there.get("preset"), given)}
