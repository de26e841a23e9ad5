"""Which methods stand side by side where the user names none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from mipin_ref.methods.method import Method
from mipin_ref.panel.registry import METHODS

ALL = "all"


@dataclass(frozen=True)
class Asked:
    """names: of the methods to run; left_out: of those that take so long that they run only where they are named."""

    names: Sequence[str]
    left_out: Sequence[str]


def methods_asked(
    named: Sequence[str] | None, options: Collection[str], takes: Callable[[type[Method]], bool] = lambda _: True
) -> Asked:
    """named: what `--methods` says, None without it; options: methods that options were given of, which are meant;
    takes: whether a method has a part in this at all.
    """
    if named is not None and [*named] != [ALL]:
        return Asked(named, ())
    having = [name for name, method in METHODS.items() if takes(method)]
    slow = [name for name in having if METHODS[name].many_passes and named is None and name not in options]
    return Asked([name for name in having if name not in slow], slow)


def told_of_left_out(names: Sequence[str]) -> str:
    """A line on methods that were left out."""
    return (
        f"left out: {', '.join(names)}, which take hundreds of forward passes a sample (--methods {ALL} runs them too)"
    )
