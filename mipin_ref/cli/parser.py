"""An argument parser whose errors are one line, and an option that may be given once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any, NoReturn

from mipin_ref.cli.streams import tell_error
from mipin_ref.text import one_line

USAGE_ERROR = 2
LISTED = 3
"""Words without a meaning that a message repeats, at most."""


class Parser(argparse.ArgumentParser):
    """As argparse's, but for errors: one line that ends in where help is, and the nearest of what is known.

    examples: lines that help opens with.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.given: set[str] = set()
        self._examples = tuple(examples)

    def format_help(self) -> str:
        """As argparse's, behind examples: what most people look for."""
        lines = "".join(f"  {one}\n" for one in self._examples)
        return (f"examples:\n{lines}\n" if lines else "") + super().format_help()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.given = set()
        namespace, unknown = super().parse_known_args(args, namespace)
        # A command's own parser knows its options; left to the one above, the message would name neither.
        if unknown and self._subparsers is None:
            self.error(f"unrecognized arguments: {self._unknown(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, one_line(f"{self.prog}: {message}; see {self.prog} --help"))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        if message:
            tell_error(message)
        raise SystemExit(status)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # Some Pythons take `--option=--` for an end of the options, drop it, and store a list without a word.
        if action.option_strings and arg_strings == ["--"]:
            raise argparse.ArgumentError(action, "expected one argument, not '--'")
        # As a path it would be the current folder: what a variable of a shell that was never set leaves.
        if "" in arg_strings and action.nargs != argparse.PARSER:
            raise argparse.ArgumentError(action, "is empty")
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            name = argparse._get_action_name(action)
            raise argparse.ArgumentError(
                None, f"{name}: there is no {value!r}{self._near(str(value), known)} (choose from {', '.join(known)})"
            )

    def _unknown(self, words: Sequence[str]) -> str:
        """What is not known, and what may be meant: a shell writes photos/*.jpg out as one word a file."""
        listed = " ".join(words[:LISTED]) + (f" and {len(words) - LISTED} more" if len(words) > LISTED else "")
        if not words[0].startswith("-") and os.path.exists(words[0]):
            pictures = words[0].lower().endswith((".png", ".jpg", ".jpeg"))
            return f"{listed}: one file or folder is read" + ("; give the folder that holds them" * pictures)
        return listed + self._near(words[0], self._options())

    def _options(self) -> list[str]:
        return [name for action in self._actions for name in action.option_strings if name.startswith("--")]

    def _near(self, name: str, known: Sequence[str]) -> str:
        near = get_close_matches(name.lower().partition("=")[0], known, n=1)
        return f", did you mean {near[0]}?" if near else ""


class StoreOnce(argparse.Action):
    """Keeps the value of an option that means work. A second one is an error: the first would be lost in silence."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        assert isinstance(parser, Parser)
        if option is not None and self.dest in parser.given:
            raise argparse.ArgumentError(self, "given twice")
        parser.given.add(self.dest)
        setattr(namespace, self.dest, values)


class ShowVersion(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        print(version("mipin_ref"))
        parser.exit()
