"""The examples in docstrings of public functions run as printed, each by itself."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mipin_ref as mr

ROOMS = {"mr": mr, "mr.metrics": mr.metrics, "mr.golden": mr.golden}
OTHERS: dict[str, Any] = {
    "mr.Panel": mr.Panel,
    "mr.Network.predict": mr.Network.predict,
    "mr.Inverse.attribute": mr.Inverse.attribute,
    **{f"mr.data.{name}": getattr(mr.data, name) for name in ("builtin", "builtin_names", "open_data", "open_labels")},
}
LEFT_OUT = {"mr.golden.remake"}
"""A maintainer's function."""
SLOW = dict.fromkeys(("mr.metrics.quantus_model", "mr.metrics.randomization"), pytest.mark.slow)
"""These import torch and scipy.stats."""


def functions() -> dict[str, Callable[..., Any]]:
    """The public functions, and what else a page begins with."""
    named = {f"{room}.{name}": getattr(module, name) for room, module in ROOMS.items() for name in module.__all__}
    return {name: one for name, one in named.items() if inspect.isfunction(one) and name not in LEFT_OUT} | OTHERS


def example(name: str) -> doctest.DocTest:
    (found,) = doctest.DocTestFinder(recurse=False).find(functions()[name], name, globs={})
    return found


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in functions()])
def test_an_example_runs_as_printed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = example(name)
    assert found.examples, "there is no example"
    told: list[str] = []
    done = doctest.DocTestRunner().run(found, out=told.append)
    assert not done.failed, "".join(told)


@pytest.mark.parametrize("name", functions())
def test_an_example_is_short_and_shows_what_comes_out(name: str) -> None:
    found = example(name)
    assert len(found.examples) <= 9
    assert found.examples[-1].want
    assert any(one.source.strip() == "import mipin_ref as mr" for one in found.examples)


def test_a_wrong_example_is_found(tmp_path: Path) -> None:
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner().run(wrong, out=lambda text: None).failed == 1
