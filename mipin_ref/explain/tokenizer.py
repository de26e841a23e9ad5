"""Tokenizers: what cuts a text into tokens and numbers them, a `tokenizer.json` or a plain vocabulary."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mipin_ref.errors import BackendUnavailable, CorruptFile, InvalidData, shown
from mipin_ref.reading import decoding, parse_json, read_bytes, reason, regular_file
from mipin_ref.text import printable

PADS = ("[PAD]", "<pad>", "<|pad|>", "<PAD>")
UNKNOWNS = ("[UNK]", "<unk>", "<UNK>", "UNK")
JSON_LIST, JSON_OBJECT = re.compile(r'\s*\[\s*(["\]]|-?[0-9])'), re.compile(r'\s*\{\s*["}]')
"""How files begin that are JSON: a token a line may begin with a bracket too, as [PAD] does."""
PIECE = "##"
"""How a vocabulary of word pieces marks one that goes on with a word."""
LARGEST = 1 << 24
"""Ids stay below this."""


@dataclass(frozen=True)
class Encoded:
    """A text as a network reads it. ids, types: [T]; tokens: [T] as they stand in the text, else by name; joints: [T]
    what stands in the text in front of each.
    """

    ids: Sequence[int]
    types: Sequence[int]
    tokens: Sequence[str]
    joints: Sequence[str]


class Tokenizer(ABC):
    """names: tokens by id, up to the largest; pad: the id that fills up shorter texts, None where there is none."""

    names: Sequence[str]
    pad: int | None

    @abstractmethod
    def encode(self, text: str) -> Encoded:
        """A text as ids. Raises InvalidData where it cannot be."""


def as_tokenizer(given: Any) -> Tokenizer:
    """The tokenizer that a user gives: a file, `tokenizers.Tokenizer`, a fast one of `transformers`, tokens by id as a
    list, or ids by token as a mapping.

    Raises InvalidData and CorruptFile for what is none; BackendUnavailable where a `tokenizer.json` is given and the
    package `tokenizers` is missing.
    """
    if isinstance(given, Tokenizer):
        return given
    if isinstance(given, str | os.PathLike):
        return _of_file(given)
    if isinstance(given, Mapping):
        return Vocabulary(_by_id(given, "the tokenizer given"))
    inner = getattr(given, "backend_tokenizer", given)
    if all(hasattr(inner, name) for name in ("encode", "get_vocab", "to_str")):
        return Trained(inner.to_str())
    if isinstance(given, Sequence) and not isinstance(given, bytes) and all(isinstance(one, str) for one in given):
        return Vocabulary(list(given))
    raise InvalidData(
        "a tokenizer is a file, tokenizers.Tokenizer, a list of tokens or a mapping of tokens to ids, not "
        f"{shown(given)}"
    )


class Vocabulary(Tokenizer):
    """Words between white space, each of which is a token: as it stands, else in small letters, else unknown."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._ids = {name: number for number, name in reversed(list(enumerate(names)))}
        self.pad = next((self._ids[name] for name in PADS if name in self._ids), None)
        self._in_pieces = any(name.startswith(PIECE) for name in names)
        self._unknown = next((self._ids[name] for name in UNKNOWNS if name in self._ids), None)

    def encode(self, text: str) -> Encoded:
        words = text.split()
        if self._in_pieces:
            raise InvalidData(
                f"the vocabulary holds pieces of words ({PIECE}…), which need the rest of their tokenizer: give its "
                "tokenizer.json"
            )
        ids = [self._ids.get(word, self._ids.get(word.lower(), self._unknown)) for word in words]
        if None in ids:
            raise InvalidData(
                f"the vocabulary has no token {shown(words[ids.index(None)])}, and none for unknown words, as "
                f"{UNKNOWNS[0]} is"
            )
        return Encoded([one for one in ids if one is not None], [0] * len(ids), words, [" "] * len(ids))


class Trained(Tokenizer):
    """What a `tokenizer.json` says, by the package `tokenizers`, with its special tokens and without its padding and
    cutting.
    """

    def __init__(self, told: str, origin: str = "the tokenizer given") -> None:
        try:
            from tokenizers import Tokenizer as Model
        except ImportError as error:
            raise BackendUnavailable(
                f"{origin}: a tokenizer.json needs the package tokenizers: pip install 'mipin_ref[text]'"
            ) from error
        with decoding(origin, "a tokenizer.json that the package tokenizers reads"):
            self._model = Model.from_str(told)
        padding = self._model.padding
        self._model.no_padding()
        self._model.no_truncation()
        known = self._model.get_vocab(with_added_tokens=True)
        self.pad = padding["pad_id"] if padding else next((known[name] for name in PADS if name in known), None)
        self._known = known

    @cached_property
    def names(self) -> Sequence[str]:  # type: ignore[override]
        return _by_id(self._known, "the tokenizer given")

    def encode(self, text: str) -> Encoded:
        try:
            made = self._model.encode(text)
        except Exception as error:  # the package's own classes have no common base of their own
            raise InvalidData(f"the tokenizer cannot read it ({reason(error)})") from error
        tokens, joints, end = [], [], None
        for name, (start, stop), special in zip(made.tokens, made.offsets, made.special_tokens_mask, strict=True):
            piece = "" if special else text[start:stop]
            stripped = piece.lstrip()
            tokens.append(stripped or name)
            between = " " if end is None or not stripped else text[end : stop - len(stripped)]
            joints.append(between)
            # Beside what does not stand in the text itself, such as [CLS], there is a space.
            end = stop if stripped else None
        return Encoded(made.ids, made.type_ids, tokens, joints)


def _of_file(given: str | os.PathLike[str]) -> Tokenizer:
    """A tokenizer.json, a JSON list of tokens, a JSON object of ids by token, or a token a line."""
    place = regular_file(given, "a tokenizer")
    content = read_bytes(place)
    try:
        told = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{place}: a tokenizer is text in UTF-8: a tokenizer.json, or a token a line") from error
    if JSON_LIST.match(told):
        listed = parse_json(told, place)
        if not all(isinstance(name, str | int | float) for name in listed):
            raise InvalidData(f"{place}: must be a list of tokens")
        return Vocabulary([printable(str(name)) for name in listed])
    if not JSON_OBJECT.match(told):
        return Vocabulary([printable(line.strip("\r\n")) for line in told.splitlines()])
    known = parse_json(told, place)
    if isinstance(known.get("model"), dict):
        return Trained(told, str(place))
    return Vocabulary(_by_id(known, str(place)))


def _by_id(known: Mapping[Any, Any], origin: str) -> list[str]:
    """Tokens by id; an id that no token has is its number."""
    ids = list(known.values())
    if not ids or not all(isinstance(one, int) and 0 <= one < LARGEST for one in ids):
        raise InvalidData(f"{origin}: a vocabulary as an object holds ids by token, whole numbers from 0 on")
    names = [str(number) for number in range(max(ids) + 1)]
    for name, number in known.items():
        names[number] = printable(str(name))
    return names
