"""Whatever is given for an option is what it should be, or one sentence of an InvalidData."""

from __future__ import annotations

import json
import math
from argparse import ArgumentTypeError
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mipin_ref.cli.arguments import integers, not_negative, numbers, positive
from mipin_ref.data import Preprocessing
from mipin_ref.errors import CorruptFile, InvalidData, MipinError, shown
from mipin_ref.inverse.options import Options
from mipin_ref.memory import checked_batch_size, memory_bytes
from mipin_ref.options import LARGEST, checked_choice, checked_flag, checked_integer, checked_number
from mipin_ref.reading import JSON_DEPTH, parse_json

NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from(
        [10**400, -(10**400), 10**5000, LARGEST, LARGEST + 1, True, np.True_, np.int8(3), np.float32("nan")]
    ),
    st.floats(),
    st.fractions(),
    st.decimals(allow_nan=False),
    st.sampled_from([Fraction(10**400, 3), Decimal("1e999"), np.longdouble("1e4000"), 1j, np.datetime64("NaT")]),
)
ANYTHING = st.one_of(
    NUMBERS,
    st.text(),
    st.binary(),
    st.none(),
    st.lists(st.floats()),
    st.dictionaries(st.text(), st.integers()),
    st.sampled_from([np.zeros(3), np.array(["a"]), np.empty((2, 0)), object(), int, range(2**62)]),
)


class Silent:
    def __repr__(self) -> str:
        raise ZeroDivisionError


def one_sentence(error: MipinError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 2000
    str(error).encode()


@given(ANYTHING)
def test_a_number_is_finite_or_refused(value: Any) -> None:
    try:
        found = checked_number("it", value, 0.0)
    except InvalidData as error:
        one_sentence(error)
        assert not (type(value) in (int, float) and 0 <= value < 1e308)
    else:
        assert type(found) is float
        assert 0 <= found < math.inf
        assert found == pytest.approx(float(value), rel=1e-15)


@given(ANYTHING)
def test_an_integer_is_in_range_or_refused(value: Any) -> None:
    try:
        found = checked_integer("it", value, 1)
    except InvalidData as error:
        one_sentence(error)
        assert not (type(value) is int and 1 <= value <= LARGEST)
    else:
        assert type(found) is int
        assert found == value
        assert 1 <= found <= LARGEST


@given(ANYTHING)
def test_choices_and_flags(value: Any) -> None:
    for check, right in (
        (lambda: checked_choice("it", value, ("a", "b")), isinstance(value, str) and value in ("a", "b")),
        (lambda: checked_flag("it", value), isinstance(value, bool)),
    ):
        if right:
            assert check() == value
        else:
            with pytest.raises(InvalidData) as raised:
                check()
            one_sentence(raised.value)


UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GiB": 2**30, "tb": 10**12}


@given(st.integers(0, 10**7), st.integers(0, 999), st.sampled_from(sorted(UNITS)), st.booleans())
def test_memory_in_words(whole: int, part: int, unit: str, spaced: bool) -> None:
    """An exact twin in fractions; a double has 53 bits of it."""
    text = f"{whole}.{part:03d}{' ' if spaced else ''}{unit}"
    exact = (whole + Fraction(part, 1000)) * UNITS[unit]
    if exact < 64 * 10**6 * (1 - Fraction(1, 2**50)):
        with pytest.raises(InvalidData, match="below the 64 MB"):
            memory_bytes(text)
    elif 64 * 10**6 * (1 + Fraction(1, 2**50)) < exact < 2**62:
        assert abs(memory_bytes(text) - exact) <= 1 + exact * Fraction(1, 2**51)


@given(ANYTHING)
@example("9" * 5000 + "GB")
@example("1" + "0" * 400 + ".5")
@example(10**5000)
@example("٣GB")
def test_any_memory(value: Any) -> None:
    try:
        assert 64 * 10**6 <= memory_bytes(value) <= LARGEST
    except InvalidData as error:
        one_sentence(error)


@given(ANYTHING)
@example(10**400)
def test_any_batch_size(value: Any) -> None:
    try:
        found = checked_batch_size(value)
        assert found is None or 1 <= found <= LARGEST
    except InvalidData as error:
        one_sentence(error)


@given(ANYTHING, st.sampled_from(["ridge", "conv_bias", "at", "input_mask", "local", "fit_on", "dtype"]))
@example(10**400, "ridge")
@example(np.zeros(2), "dtype")
def test_any_option_of_a_fit(value: Any, name: str) -> None:
    try:
        options = Options(**{name: value})
        assert type(options.ridge) is float
    except InvalidData as error:
        one_sentence(error)


@given(ANYTHING, st.sampled_from(["scale", "mean", "std", "shape"]))
@example(10**400, "scale")
@example([10**400], "mean")
@example([10**5000], "shape")
def test_any_preprocessing(value: Any, name: str) -> None:
    try:
        Preprocessing(**{name: value}).describe()
    except InvalidData as error:
        one_sentence(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**39), 10**39) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_is_read_as_it_is(value: Any) -> None:
    assert parse_json(json.dumps(value), "it") == value
    assert parse_json(json.dumps(value).encode(), "it") == value


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"[" * 100_000)
@example(b"[" * JSON_DEPTH + b"]" * JSON_DEPTH)
@example(b"9" * 5000)
@example(b"\xff\xfe[")
def test_any_text_as_json(content: bytes) -> None:
    told = _refusal(content)
    assert told is None or told.startswith("it: not a JSON file")


def _refusal(content: bytes) -> str | None:
    try:
        parse_json(content, "it")
    except CorruptFile as error:
        one_sentence(error)
        return str(error)
    return None


def test_the_bounds_of_json() -> None:
    assert parse_json("[" * JSON_DEPTH + "]" * JSON_DEPTH, "it")
    with pytest.raises(CorruptFile, match="nested more than 64 deep"):
        parse_json("[" * (JSON_DEPTH + 1) + "]" * (JSON_DEPTH + 1), "it")
    assert parse_json("9" * 40, "it") == int("9" * 40)
    with pytest.raises(CorruptFile, match="an integer of 41 digits"):
        parse_json("9" * 41, "it")


SHOWN = [10**5000, Silent(), [[]] * 10**5, "\ud800", "a\nb", np.zeros((40, 40)), [10**5000]]


@pytest.mark.parametrize("value", SHOWN, ids=range(len(SHOWN)))
def test_any_value_is_shown_in_short(value: Any) -> None:
    assert len(shown(value)) < 220


def test_a_value_is_shown_as_it_is() -> None:
    assert shown("it's") == '"it\'s"'
    assert shown(3.5) == "3.5"
    assert shown(Silent()) == "a value of type Silent"


@given(st.text() | st.integers().map(str) | st.floats().map(str))
@example("9" * 5000)
@example("nan,inf")
def test_texts_of_the_command_line(text: str) -> None:
    """What argparse turns into its own message is a ValueError or its subclass; nothing else may come."""
    for read in (positive, not_negative, numbers, integers):
        try:
            read(text)
        except (ValueError, ArgumentTypeError):
            continue
