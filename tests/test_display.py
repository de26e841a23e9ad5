"""Results at a prompt: one line each, and each of what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

import mipin_ref as mr
from mipin_ref.display import FEW, OneLine, brief
from tests.results import NET, RECORDS, RESULTS

WIDEST = 500
"""Characters of a line: a record of a dozen fields."""


def inside(value: Any) -> Iterator[Any]:
    """A record and every one below it."""
    if is_dataclass(value) and not isinstance(value, type):
        yield value
        for one in fields(value):
            yield from inside(getattr(value, one.name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from inside(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from inside(one)


@pytest.mark.parametrize("name", RESULTS)
def test_what_a_result_holds_is_told_in_one_line_each(name: str) -> None:
    result = RESULTS[name]()
    told = [(type(one).__name__, repr(one)) for one in inside(result)]
    assert told
    wrong = [(kind, line) for kind, line in told if "\n" in line or len(line) > WIDEST or "array(" in line]
    assert not wrong
    assert repr(result).startswith(type(result).__name__ + "(")


def test_every_record_of_the_metrics_is_among_them() -> None:
    assert set(RECORDS) == {name for name in mr.metrics.__all__ if isinstance(getattr(mr.metrics, name), type)}


def test_what_a_user_reads() -> None:
    assert repr(NET) == "Network('input' [N, 1×6×6] float32 -> 'scores' [N, 3], 4 layers, 119 parameters, head None)"
    told = {
        name: repr(RESULTS[name]()) for name in ("inverse", "attribution", "targets", "patterns", "ClassSensitivity")
    }
    assert told["inverse"] == "Inverse(target 1, 'scores' down to 'input', 2 tensors fitted on 20 samples)"
    assert told["attribution"] == "Attribution('mip-in', target 1, 'input' float64[20, 1, 6, 6], with source signal)"
    assert told["targets"] == "Attribution('gradient', target int64[20], 'input' float64[20, 1, 6, 6])"
    assert told["patterns"] == "Patterns(of 2 layers down to 'input', fitted on 20 samples)"
    assert told["ClassSensitivity"].startswith("ClassSensitivity(distances=float64[20], mean=")


def test_a_network_prints_as_its_table_all_the_same() -> None:
    assert str(NET) == NET.table()
    assert len(str(NET).splitlines()) == 1 + len(NET.layers) + 1
    assert "\n" in f"{RESULTS['report']()}"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.zeros((2, 3), np.float32), "float32[2, 3]"),
        (np.float64(0.1) / 3, "0.0333333"),
        ((3,), "(3,)"),
        ([1, "a"], "[1, 'a']"),
        (tuple(range(FEW + 1)), f"[{FEW + 1} of int]"),
        ([1, "a"] * FEW, f"[{2 * FEW} of several kinds]"),
        ({"a": 1}, "{1 of int}"),
        ({}, "{}"),
        (b"x" * 10**6, "1000000 bytes"),
        ("a\nb\x1b", "'a\\nb\\x1b'"),
        ("\u202e", "'\\u202e'"),
        ("x" * 100, f"'{'x' * 56}..."),
        (ModelProto(), "ModelProto"),
        (None, "None"),
        (NET, "Network(...)"),
    ],
)
def test_values_in_a_few_words(value: object, told: str) -> None:
    assert brief(value) == told


def test_names_from_a_file_break_no_line() -> None:
    hostile = replace(RESULTS["attribution"](), tensor="a\nb\x1b[2J", method="m\n")
    assert "\n" not in repr(hostile)
    assert "\x1b" not in repr(hostile)
    renamed = replace(NET, input="x\n\u202e", layers=(replace(NET.layers[0], inputs=("x\n\u202e",)), *NET.layers[1:]))
    assert "\n" not in repr(renamed)
    assert "\u202e" not in repr(renamed)


def test_a_class_that_states_its_own_line_keeps_it_and_hands_it_down() -> None:
    @dataclass(frozen=True)
    class First(OneLine):
        values: Any

        def __repr__(self) -> str:
            return "mine"

    @dataclass(frozen=True)
    class Second(First):
        more: int = 0

    assert repr(First(1)) == repr(Second(1)) == "mine"
