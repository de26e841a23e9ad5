"""Texts as the arrays that a network reads: ids, a mask, types and positions, filled up to one length."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mipin_ref.errors import CorruptFile, InvalidData, MipinError, shown
from mipin_ref.explain.predict import Net
from mipin_ref.explain.tokenizer import Encoded, Tokenizer, as_tokenizer
from mipin_ref.graph.asked_inputs import AskedInput, AskedInputs
from mipin_ref.layers import HostArray
from mipin_ref.panel.fallback import open_any
from mipin_ref.reading import decoding, regular_file

TEXT_BYTES = 32 << 20
"""Of a file of texts, at most."""
ARRAYS = (".npy", ".npz")
"""What files of ids end with."""
WRITTEN = (".txt", ".text")
"""What files of texts end with, mostly."""
ROLES = {"mask": ("mask",), "types": ("type", "segment"), "positions": ("position",)}
"""What an input is named by that is not the ids, and holds a number of each token."""
COUNTS = ("length", "lens")
"""The same of an input that holds how many tokens a text has."""
HIDING = {"mask", "counts"}
"""What tells a network which tokens only fill a text up."""


@dataclass(frozen=True)
class Texts:
    """What is known of tokens. names: by id; encoded: the texts, None where ids were given; pad: the id that fills up
    shorter texts, None where there is none; calibration: what the texts are called that a fit is made on, "" where
    there are none.
    """

    names: Sequence[str]
    encoded: Sequence[Encoded] | None = None
    pad: int | None = None
    calibration: str = ""


@dataclass(frozen=True, eq=False)
class TextRun:
    """What a model is opened with and explains. images, calibration: as `explain` takes them; input: the explained one
    of several, None where there is one; input_shape: of a sample; lines: what a person should know; places: rows of the
    tables of positions, as far as is known.
    """

    images: Any
    calibration: Any
    input: str | None
    input_shape: Mapping[str, Sequence[int]] | None
    texts: Texts
    lines: Sequence[str] = ()
    places: Sequence[int] = ()

    def told(self, error: MipinError) -> MipinError:
        """The error of a network that was opened for texts; where one is longer than its table of positions, that."""
        encoded = self.texts.encoded or ()
        lengths = [len(one.ids) for one in encoded]
        rows = [count for count in self.places if count < max(lengths, default=0)]
        if not rows:
            return error
        return InvalidData(
            f"text {lengths.index(max(lengths))} has {max(lengths)} tokens, and the network's table of positions "
            f"{max(rows)} rows: shorten it"
        )


def text_run(
    asked: AskedInputs,
    images: Any,
    calibration: Any,
    tokenizer: Any,
    input_shape: Mapping[str, Sequence[int]] | None,
    given: Mapping[str, Any] | None,
) -> TextRun:
    """Texts, by a tokenizer, as the arrays that a network reads; ids stay as they are, and get names.

    Raises InvalidData, each in a sentence, for a network that reads no ids, a tokenizer of another network, a text
    that is empty or longer than what the network reads, and inputs that cannot be made of a text.
    """
    if isinstance(images, str | os.PathLike) and Path(images).is_dir():
        raise InvalidData(f"{images}: with a tokenizer a file of texts is explained, one a line, and this is a folder")
    free = [one for one in asked.named.values() if one.name not in (given or ())]
    ids, roles = _roles(free)
    made = as_tokenizer(tokenizer)
    if ids.tables and len(made.names) > min(ids.tables):
        raise InvalidData(
            f"the tokenizer has {len(made.names):,} tokens and the table of input {ids.name!r} {min(ids.tables):,} "
            "rows: it belongs to another network"
        )
    if not _are_texts(images):
        return TextRun(images, calibration, None, input_shape, Texts(made.names, None, made.pad))
    texts = _encoded(images, made)
    others = _encoded(calibration, made) if _are_texts(calibration) else []
    told = (input_shape or {}).get(ids.name, ids.sizes)
    fixed = told[0] if told else None
    _check_length(texts, "text", fixed)
    _check_length(others, "calibration text", fixed)
    length = fixed or max(len(one.ids) for one in [*texts, *others])
    short = any(len(one.ids) < length for one in [*texts, *others])
    lines = []
    if short and HIDING.isdisjoint(roles.values()):
        if made.pad is None:
            raise InvalidData(
                f"some texts have fewer tokens than {length}, the network reads no mask, and the tokenizer has no "
                "token to fill up with: give texts of that length"
            )
        lines.append(
            f"the network reads no mask: shorter texts are filled up to {length} tokens with {made.names[made.pad]!r}, "
            "which it reads as the others"
        )
    along = (ids.name, *(name for name, role in roles.items() if role != "counts"))
    sizes: dict[str, tuple[int, ...]] = dict.fromkeys(along, (length,))
    return TextRun(
        _arrays(texts, length, ids, roles, made),
        _arrays(others, length, ids, roles, made) if others else calibration,
        ids.name if roles else None,
        sizes | {name: tuple(size) for name, size in (input_shape or {}).items()},
        Texts(made.names, texts, made.pad, _called(calibration) if others else ""),
        lines,
        asked.places,
    )


def check_no_texts(images: Any) -> None:
    """Raises InvalidData for a file of texts, by its name, where nothing says which ids they are."""
    named = isinstance(images, str | os.PathLike) and Path(images).suffix.lower() in WRITTEN
    if named and not Path(images).is_dir():
        raise InvalidData(f"{images}: texts are explained with their network's tokenizer, option 'tokenizer'")


def open_for(model: Any, run: TextRun | None, **options: Any) -> Net:
    """The network of a model, for texts where there are some. options: of `open_any`, whose errors it raises."""
    try:
        return open_any(model, **options, input=None if run is None else run.input)
    except MipinError as error:
        raise error if run is None else run.told(error) from error


def role_of(name: str) -> str | None:
    """What an input beside the ids holds, by its name: "mask", "types" or "positions"; None for anything else."""
    return next((role for role, words in ROLES.items() if any(word in name.lower() for word in words)), None)


def counts_tokens(name: str) -> bool:
    """Whether an input of one number a text holds how many tokens it has, by its name."""
    return any(word in name.lower() for word in COUNTS)


def _roles(free: Sequence[AskedInput]) -> tuple[AskedInput, dict[str, str]]:
    """The input of ids, and what the others hold. Raises InvalidData where it cannot be told."""
    able = [one for one in free if one.ids and len(one.sizes) == 1]
    if not able:
        read = ", ".join(f"{one.name!r}" for one in free)
        raise InvalidData(
            f"a tokenizer is for networks that read ids of tokens, and this one reads {read}, which are none"
        )
    plain = [one for one in able if role_of(one.name) is None]
    ids = plain[0] if len(plain) == 1 else next((one for one in plain if "id" in one.name.lower()), None)
    if ids is None:
        names = ", ".join(repr(one.name) for one in able)
        raise InvalidData(f"which of the inputs {names} holds the ids of tokens is not known by their names")
    roles = {one.name: _role(one) for one in free if one is not ids}
    for name, role in roles.items():
        if role is None:
            raise InvalidData(
                f"input {name!r} holds neither a mask, nor types or positions of tokens, nor how many a text has, by "
                "its name: bind it to a value, option 'given'"
            )
    return ids, {name: role for name, role in roles.items() if role is not None}


def _role(one: AskedInput) -> str | None:
    """What an input beside the ids holds: of each token, as `role_of` tells, or "counts"; None for anything else."""
    return role_of(one.name) if one.sizes else "counts" if one.whole and counts_tokens(one.name) else None


def _are_texts(given: Any) -> bool:
    if isinstance(given, str | os.PathLike):
        return Path(given).suffix.lower() not in ARRAYS and not Path(given).is_dir()
    several = isinstance(given, Sequence) and len(given) > 0
    return several and all(isinstance(one, str) for one in given)


def _called(given: Any) -> str:
    return str(given) if isinstance(given, str | os.PathLike) else "the texts given"


def _encoded(given: Any, tokenizer: Tokenizer) -> list[Encoded]:
    """The texts of a file, one a line, or of a list."""
    origin, noun, lines = "the texts given", "text", given
    if isinstance(given, str | os.PathLike):
        origin, noun, lines = str(given), "line", _lines(given)
    made = []
    for number, text in enumerate(lines, 1 if noun == "line" else 0):
        try:
            one = tokenizer.encode(text)
        except InvalidData as error:
            raise InvalidData(f"{origin}, {noun} {number}: {error}") from error
        if not text.strip() or not one.ids:
            raise InvalidData(f"{origin}, {noun} {number}: it is empty, and there is nothing to explain: leave it out")
        made.append(one)
    if not made:
        raise InvalidData(f"{origin}: holds no text")
    return made


def _lines(given: str | os.PathLike[str]) -> list[str]:
    if isinstance(given, str) and " " in given.strip() and not os.path.exists(given):
        raise InvalidData(f"there is no file {shown(given)}; texts are read from a file, a line each")
    place = regular_file(given, "a file of texts")
    with decoding(place, "a file of texts"), place.open("rb") as file:
        content = file.read(TEXT_BYTES + 1)
    if len(content) > TEXT_BYTES:
        raise InvalidData(f"{place}: a file of texts of more than {TEXT_BYTES >> 20} MiB is not read")
    try:
        return content.decode("utf-8-sig").rstrip("\r\n").split("\n")
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{place}: texts are in UTF-8, one a line, and byte {error.start} is not") from error


def _check_length(texts: Sequence[Encoded], noun: str, fixed: int | None) -> None:
    for number, one in enumerate(texts):
        if fixed is not None and len(one.ids) > fixed:
            raise InvalidData(f"{noun} {number} has {len(one.ids)} tokens, and the network reads {fixed}: shorten it")


def _arrays(
    texts: Sequence[Encoded], length: int, ids: AskedInput, roles: Mapping[str, str], tokenizer: Tokenizer
) -> Any:
    """[N, T] by input, or [N] of counts; the array of ids alone where there is no other."""
    shape = (len(texts), length)
    made: dict[str, HostArray] = {ids.name: np.full(shape, tokenizer.pad or 0, np.int64 if ids.whole else np.float32)}
    for name, role in roles.items():
        if role == "counts":
            made[name] = np.array([len(one.ids) for one in texts], np.int64)
            continue
        rising = np.broadcast_to(np.arange(length), shape) if role == "positions" else np.zeros(shape)
        made[name] = rising.astype(np.int64)
    for row, one in enumerate(texts):
        count = len(one.ids)
        made[ids.name][row, :count] = one.ids
        for name, role in roles.items():
            if role == "mask":
                made[name][row, :count] = 1
            elif role == "types":
                made[name][row, :count] = one.types
    return made if roles else made[ids.name]
