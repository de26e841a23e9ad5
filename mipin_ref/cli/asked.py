"""Which methods stand side by side where the user names none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.methods.method import Method
from mipin_ref.panel.registry import METHODS, method_named

ALL = "all"


@dataclass(frozen=True)
class Asked:
    """names: of the methods to run; left_out: of those that take so long that they run only where they are named;
    without: of those that need layers, where there are none.
    """

    names: Sequence[str]
    left_out: Sequence[str]
    without: Sequence[str] = ()


def methods_asked(
    named: Sequence[str] | None,
    options: Collection[str],
    takes: Callable[[type[Method]], bool] = lambda _: True,
    *,
    alone: str | None = None,
    net: Network | None = None,
) -> Asked:
    """named: what `--methods` says, None without it; options: methods that options were given of, which are meant;
    takes: whether a method has a part in this at all; alone: why there is but the forward pass to explain by, None
    where methods may go back through layers; net: the network, where methods that do not suit it are left out unless
    they are named.

    Raises InvalidData for an unknown method, and where none of those named can be run.
    """
    if alone is not None:
        wanted = [name for name, method in METHODS.items() if takes(method)]
        wanted = wanted if named is None or [*named] == [ALL] else [*named]
        names = [name for name in wanted if method_named(name).forward_only]
        if not names:
            able = [name for name, method in METHODS.items() if method.forward_only and takes(method)]
            raise InvalidData(
                f"{', '.join(wanted)} cannot be run, {alone}; "
                + (f"{', '.join(able)} need the forward pass alone" if able else "no other method will do here")
            )
        return Asked(names, (), [name for name in wanted if name not in names])
    if named is not None and [*named] != [ALL]:
        return Asked(named, ())
    having = [name for name, method in METHODS.items() if takes(method) and (net is None or method.suits(net))]
    slow = [name for name in having if METHODS[name].many_passes and named is None and name not in options]
    return Asked([name for name in having if name not in slow], slow)


def told_of_without(names: Sequence[str], alone: str) -> str:
    """A line on methods that need layers where there are none."""
    return f"left out, as going back through layers: {', '.join(names)}; this file is run as it is, {alone}"


def told_of_left_out(names: Sequence[str]) -> str:
    """A line on methods that were left out."""
    return (
        f"left out: {', '.join(names)}, which take hundreds of forward passes a sample (--methods {ALL} runs them too)"
    )
