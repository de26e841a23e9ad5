"""An option of a fit is stated once: whoever takes options takes every one, with its default and its check."""

from __future__ import annotations

import ast
import inspect
import re
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.backend import get_backend
from mipin_ref.cli import dispatch
from mipin_ref.cli.fit_options import fit_options
from mipin_ref.data import as_samples
from mipin_ref.golden.build import LATER
from mipin_ref.inverse.fit import FitOptions
from mipin_ref.inverse.options import DEFAULTS, METHOD_OPTIONS, OPTIONS, Options
from mipin_ref.inverse.passes.checkpoint import identity_of
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import plan_for
from tests.inverse.test_bad_input import X, small
from tests.pages.page import TEXTS

OTHERS: dict[str, Any] = {
    "ridge": 0.25,
    "conv_bias": True,
    "at": "relu",
    "input_mask": True,
    "local": False,
    "fit_on": "target_class",
    "norm": "sigma",
    "common": "relu",
    "share_locations": True,
    "dtype": "float32",
}
"""A value of each that is not its default."""

LABELS = np.arange(len(X)) % 2

SPELT: dict[str, list[str]] = {
    "ridge": ["--ridge", "0.25"],
    "conv_bias": ["--conv-bias"],
    "at": ["--at", "relu"],
    "input_mask": ["--input-mask"],
    "local": ["--global"],
    "fit_on": ["--fit-on", "target_class"],
    "norm": ["--norm", "sigma"],
    "common": ["--common", "relu"],
    "share_locations": ["--share-locations"],
    "dtype": ["--dtype", "float32"],
}

COMMANDS: dict[str, tuple[list[str], set[str]]] = {
    "fit": (["fit", "MODEL", "DATA", "--target", "3", "-o", "FILE"], set()),
    "golden make": (["golden", "make", "MODEL", "DATA", "--target", "3", "-o", "DIR"], {"common", "dtype"}),
}
"""Arguments, and the options that a command sets itself."""


def parsed(command: str, *more: str) -> Namespace:
    return dispatch._parser().parse_args([*COMMANDS[command][0], *more])


def test_each_option_is_tried_here() -> None:
    assert list(OTHERS) == list(SPELT) == list(OPTIONS) == list(asdict(Options()))
    assert all(OTHERS[name] != DEFAULTS[name] for name in OPTIONS)


@pytest.mark.parametrize("function", [mr.fit, mr.golden.make], ids=["fit", "golden.make"])
def test_python_takes_every_option_with_its_default(function: Any) -> None:
    given = inspect.signature(function).parameters
    missing = {"common", "dtype"} if function is mr.golden.make else set()
    assert {name: given[name].default for name in OPTIONS.keys() - missing} == {
        name: DEFAULTS[name] for name in OPTIONS.keys() - missing
    }
    assert set(FitOptions.__annotations__) == {
        name for name, one in inspect.signature(mr.fit).parameters.items() if one.kind is one.KEYWORD_ONLY
    }


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_every_option_with_its_default(command: str, name: str) -> None:
    left_out = COMMANDS[command][1]
    assert fit_options(parsed(command)) == {n: value for n, value in DEFAULTS.items() if n not in left_out}
    if name not in left_out:
        assert fit_options(parsed(command, *SPELT[name])) == {
            **{n: value for n, value in DEFAULTS.items() if n not in left_out}, name: OTHERS[name]
        }  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_a_fit_does_as_the_option_says(name: str) -> None:
    """What reaches the inverse, and its file, is what was given; a wrong value is refused by name."""
    net = small()
    inv = mr.fit(net, X, 1, labels=LABELS, **{name: OTHERS[name]})
    assert inv.options == replace(Options(), **{name: OTHERS[name]})
    with pytest.raises(mr.InvalidData, match=rf"\b{name}\b|tensor"):
        mr.fit(net, X, 1, **{name: Path("nothing")})  # type: ignore[call-overload]


@pytest.mark.parametrize("name", OPTIONS)
def test_files_and_checkpoints_tell_every_option(name: str, tmp_path: Path) -> None:
    net = small()

    def identity(options: Options) -> dict[str, Any]:
        data, backend = as_samples(X), get_backend("numpy", options.dtype)
        task = FitTask(net, plan_for(net, options, 1), options, backend, data, None, 10**9, None)
        return identity_of(task, [1], lambda count: None)

    other = replace(Options(), **{name: OTHERS[name]})
    assert identity(other) != identity(Options())
    assert identity(other)["options"] == {**DEFAULTS, name: OTHERS[name]}
    mr.fit(net, X, 1, labels=LABELS, **{name: OTHERS[name]}).save(tmp_path / "one.mipin")
    assert mr.load_inverse(tmp_path / "one.mipin", net).options == other


@pytest.mark.parametrize("name", OPTIONS)
def test_the_page_tells_every_option(name: str) -> None:
    rows = [line.split("|") for line in TEXTS["mipin_ref/inverse/README.md"].splitlines() if line.startswith("| `")]
    told = {found[1]: (found[2], row[2]) for row in rows if (found := re.match(r" `(\w+)` \(([^)]+)\)", row[1]))}
    default, command = told[name]
    assert ast.literal_eval(default) == DEFAULTS[name]
    assert f"`{SPELT[name][0]}`" in command


def test_golden_cases_tell_every_option() -> None:
    for case in mr.golden.cases():
        told = set(mr.golden.read_case(case).manifest["options"])
        assert {"target", *OPTIONS} - set(LATER) <= told <= {"target", *OPTIONS}


def test_options_of_mip_in_as_a_method_are_those_that_no_method_has_besides() -> None:
    assert METHOD_OPTIONS == ("ridge", "conv_bias", "input_mask", "local", "norm", "common", "share_locations")
