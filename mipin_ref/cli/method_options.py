"""Options of methods as the command line writes them: NAME=VALUE, or METHOD.NAME=VALUE where there are several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mipin_ref.cli.asked import ALL
from mipin_ref.errors import InvalidData
from mipin_ref.inverse.options import METHOD_OPTIONS
from mipin_ref.panel.registry import METHODS


def checked_fit_options(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Raises InvalidData for an option that is not one of METHOD_OPTIONS."""
    for name in given:
        if name not in METHOD_OPTIONS:
            raise InvalidData(f"method {method!r} has no option {name!r}; its options are {', '.join(METHOD_OPTIONS)}")
    return dict(given)


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


def one_methods_options(given: Sequence[str], method: str) -> dict[str, Any]:
    """NAME=VALUE or METHOD.NAME=VALUE texts as the options of one method.

    Raises InvalidData for a text of another form, an option given twice, and one of another method.
    """
    texts = []
    for text in given:
        name, dot, _ = text.partition("=")[0].partition(".")
        if dot and name != method:
            raise InvalidData(f"--option {text}: {name} is not the method, which is {method}")
        texts.append(text[len(method) + 1 :] if dot else text)
    return parsed_options(texts)


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
