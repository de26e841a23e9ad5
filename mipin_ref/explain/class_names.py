"""The names of a network's classes: as given, as its file or a file beside it tells them, else "class 281"."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from mipin_ref.errors import CorruptFile, InvalidData, MipinError, shown
from mipin_ref.explain.predict import Net
from mipin_ref.reading import parse_json, read_bytes, reason, regular_file
from mipin_ref.text import printable

KEYS = ("class_names", "names", "labels", "classes", "id2label")
"""Entries of a model's metadata, or of a JSON object, that hold names of classes."""
BESIDE = ("card.json", "config.json")
"""Files beside a model that may hold them: a card of this package's, a configuration of Hugging Face's."""
NAME_LENGTH = 200
"""Characters of a name, at most."""
SHOWN = 5
"""Classes that a message lists."""


@dataclass(frozen=True, eq=False)
class ClassNames:
    """Names of the classes of a network.

    known: by index into the logits, those that have one; origin: where they come from, "" where there are none.
    """

    net: Net
    known: Mapping[int, str]
    origin: str = ""

    def of(self, index: int) -> str:
        """The name of a class, by its index into the logits; "class 281" or "class 5:1000" without one.

        A single sigmoid is the probability of class 1, though its target is 0: it is called what it is.
        """
        if self.net.classes == 1 and self.net.head == "sigmoid":
            return self.known.get(index) or "class 1 (target 0)"
        return self.known.get(index) or f"class {told_target(self.net.target(index))}"

    def find(self, name: str) -> int:
        """The index of the class of a name, whatever its case; a part of a name will do where it fits one class.

        Raises InvalidData where it fits none or several, naming some.
        """
        wanted = name.strip().casefold()
        matches = (
            lambda one: one == name,
            lambda one: one.casefold() == wanted,
            lambda one: wanted in (part.strip() for part in one.casefold().split(",")),
            lambda one: wanted in one.casefold(),
        )
        for fits in matches:
            found = [index for index, one in self.known.items() if wanted and fits(one)]
            if len(found) == 1:
                return found[0]
            if found:
                raise InvalidData(
                    f"class name {shown(name)} fits {len(found)} classes, {self._listed(found)}: give the index of one"
                )
        if not self.known:
            raise InvalidData(
                f"there is no class {shown(name)}: this model tells no names of its classes; give an index, or names "
                "with option 'class_names'"
            )
        raise InvalidData(
            f"there is no class {shown(name)} among the {len(self.known)} names of {self.origin}, such as "
            f"{self._listed(list(self.known)[:SHOWN])}"
        )

    def _listed(self, found: Sequence[int]) -> str:
        more = ", ..." if len(found) > SHOWN else ""
        return ", ".join(f"{index} {self.known[index]!r}" for index in found[:SHOWN]) + more


def told_target(target: int | tuple[int, ...]) -> str:
    """A target as the command line takes it: 281, or 5:1000."""
    return ":".join(map(str, target)) if isinstance(target, tuple) else str(target)


def class_names_of(net: Net, given: Any = None, model: Path | None = None) -> ClassNames:
    """The names of a network's classes.

    given: the path of a file (a JSON list; a JSON object {index: name}, or one that holds either under class_names,
    names or id2label; or text, a name a line), such a list or mapping, or None: then what the model's metadata or its
    nodes tell, or a card.json or config.json beside `model`, the path of its file.
    Raises InvalidData where what is given does not fit the network's classes, CorruptFile for a damaged file.
    """
    if given is not None:
        if isinstance(given, str | PathLike):
            path = regular_file(given, "a file of class names")
            return ClassNames(net, _fitting(_read(path), net.classes, str(path)), str(path))
        return ClassNames(net, _fitting(given, net.classes, "class_names"), "option 'class_names'")
    for key in KEYS:
        if known := _tried(literal(net.metadata.get(key)), net.classes):
            return ClassNames(net, known, f"the model's metadata, {key!r}")
    if net.labels:
        return ClassNames(net, _fitting(net.labels, net.classes, "the model"), "the model's own labels")
    for path in [] if model is None else [model.parent / name for name in BESIDE]:
        if path.is_file() and (known := _tried(_stored(path), net.classes)):
            return ClassNames(net, known, path.name)
    return ClassNames(net, {})


def _read(path: Path) -> Any:
    """What a file of names holds: JSON, or text with a name a line."""
    content = read_bytes(path)
    if content.lstrip()[:1] in (b"[", b"{"):
        inner = _inner(parse_json(content, path))
        if isinstance(inner, dict) and not all(key.isdecimal() for key in inner):
            told = " or ".join(map(repr, KEYS))
            raise InvalidData(f"{path}: holds no list of class names, and no object of names by index, under {told}")
        return inner
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{path}: class names are text in UTF-8, a name a line, or JSON") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _stored(path: Path) -> Any:
    """The same of a file that nobody named; None where it holds none."""
    try:
        return _inner(parse_json(read_bytes(path), path))
    except MipinError:
        return None


def _inner(stored: Any) -> Any:
    """The names in a JSON object that holds more, such as a card."""
    if isinstance(stored, dict):
        return next((stored[key] for key in KEYS if isinstance(stored.get(key), list | dict)), stored)
    return stored


def literal(text: str | None) -> Any:
    """What a metadata entry says: JSON, or a list or dict as Python writes it, or names between commas or in lines."""
    if not text:
        return None
    try:
        return parse_json(text, "metadata")
    except MipinError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [one.strip() for one in text.split("\n" if "\n" in text.strip() else ",") if one.strip()]


def _tried(names: Any, classes: int) -> dict[int, str]:
    """The names where they fit the network; none where they do not: nobody said that they would."""
    try:
        return _fitting(names, classes, "")
    except InvalidData:
        return {}


def _fitting(names: Any, classes: int, origin: str) -> dict[int, str]:
    """Names by index. Raises InvalidData where there are not as many as classes, or what is given are no names."""
    try:
        pairs = [(int(index), name) for index, name in names.items()] if isinstance(names, Mapping) else None
        if pairs is None and not isinstance(names, str):
            pairs = list(enumerate(names))
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"{origin}: neither a list of class names nor names by index ({reason(error)})") from error
    if pairs is None or not all(isinstance(name, str | int | float) for _, name in pairs):
        raise InvalidData(f"{origin}: must be a list of class names, or names by index, not {shown(names)}")
    if isinstance(names, Mapping):
        if wrong := [index for index, _ in pairs if not 0 <= index < classes]:
            raise InvalidData(f"{origin}: names class {wrong[0]}; the network has classes 0..{classes - 1}")
    elif len(pairs) != classes:
        say = ": its one number is of one class, give that one's name alone" if classes == 1 else ""
        raise InvalidData(f"{origin}: names {len(pairs)} classes; the network has {classes}{say}")
    if long := [index for index, name in pairs if len(str(name)) > NAME_LENGTH]:
        raise InvalidData(f"{origin}: name {long[0]} has more than {NAME_LENGTH} characters")
    return {index: printable(str(name)) for index, name in pairs}
