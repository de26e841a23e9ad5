"""Methods that fail, those of one reason together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def alike(names: Iterable[str], failures: Mapping[str, str]) -> list[tuple[str, str]]:
    """(methods, reason) of the failures among `names`, in their order: those that fail for one reason in one entry.

    failures: reason by method. A reason that begins with its own method's name is told without it, as each would else
    be another.
    """
    together: dict[str, list[str]] = {}
    for name in names:
        if name in failures:
            together.setdefault(failures[name].removeprefix(f"method {name!r} has "), []).append(name)
    return [(", ".join(some), reason) for reason, some in together.items()]


def failing(names: str) -> str:
    """What stands in front of the reason, of one method or of several as `alike` gives them."""
    return f"{names} fail" if ", " in names else f"{names} fails"
