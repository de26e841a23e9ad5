"""What a measure declares of each argument it takes; the command line derives the options from it, once for all."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Protocol

from mipin_ref.cli.arguments import not_negative
from mipin_ref.errors import InvalidData


class Argument(Protocol):
    """name: of the value in the options, and of the option, where a dash stands for each underscore."""

    @property
    def name(self) -> str: ...

    @property
    def default(self) -> Any: ...

    def add(self, parser: ArgumentParser) -> None:
        """Have the parser take the option."""

    def check(self, options: Namespace) -> None:
        """Raises InvalidData for a value that no model and no data could make right."""


@dataclass(frozen=True)
class Value:
    """An option with a text behind it.

    read: the text to the value, with argparse.ArgumentTypeError for a text that is none; default: told behind the help,
    where there is one; low: the least integer that has a meaning, where `read` does not ask for it.
    """

    name: str
    read: Callable[[str], Any]
    help: str
    metavar: str
    default: Any = None
    required: bool = False
    low: int | None = None

    def add(self, parser: ArgumentParser) -> None:
        told = self.help if self.default is None else f"{self.help} (default {self.default})"
        parser.add_argument(
            option_of(self.name),
            type=self.read,
            required=self.required,
            default=self.default,
            metavar=self.metavar,
            help=told,
        )

    def check(self, options: Namespace) -> None:
        value = getattr(options, self.name)
        if self.low is not None and value < self.low:
            raise InvalidData(f"{option_of(self.name)} must be at least {self.low}, not {value}")


@dataclass(frozen=True)
class Choice:
    """An option that is one of several words."""

    name: str
    choices: tuple[str, ...]
    default: str
    help: str | None = None

    def add(self, parser: ArgumentParser) -> None:
        parser.add_argument(option_of(self.name), choices=self.choices, default=self.default, help=self.help)

    def check(self, options: Namespace) -> None:
        """The parser lets no other word through."""


@dataclass(frozen=True)
class Switch:
    """An option without a value, which turns the default round: `--name`, or `--no-name` where it is on by default."""

    name: str
    help: str
    default: bool = False

    def add(self, parser: ArgumentParser) -> None:
        option = option_of(f"no_{self.name}" if self.default else self.name)
        action = "store_false" if self.default else "store_true"
        parser.add_argument(option, dest=self.name, action=action, help=self.help)

    def check(self, options: Namespace) -> None:
        """It has no value that could be wrong."""


def option_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def default_of(function: Callable[..., Any], parameter: str) -> Any:
    """The default of a function's parameter, which is so the option's too. Raises TypeError where it has none."""
    default = signature(function).parameters[parameter].default
    if default is Parameter.empty:
        raise TypeError(f"parameter {parameter!r} of {function.__name__} has no default")
    return default


MAP = Choice("map", ("contribution", "attribution"), "contribution", "A·X, or A")
AT = Value("at", str, "what mip-in explains (default the input)", "last-map|auto|TENSOR")
SIGNED = Switch("signed", "keep negative values (default: maps' positive part)")
SEED = Value("seed", not_negative, "of what is drawn", "N", default=0)
