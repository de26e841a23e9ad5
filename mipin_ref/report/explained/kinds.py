"""The kinds of sample by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mipin_ref.errors import InvalidData, shown
from mipin_ref.report.explained.image import ImageKind
from mipin_ref.report.explained.kind import Kind
from mipin_ref.report.explained.signal import SignalKind
from mipin_ref.report.explained.table import TableKind
from mipin_ref.report.explained.tokens import TokensKind


def make_kind(name: str, feature_names: Sequence[str] | None) -> Kind:
    """The kind of that name. Raises InvalidData for an unknown one."""
    kinds: dict[str, Callable[[], Kind]] = {
        "image": ImageKind,
        "signal": SignalKind,
        "table": lambda: TableKind(feature_names),
        "tokens": TokensKind,
    }
    if name not in kinds:
        raise InvalidData(f"kind must be one of {', '.join(kinds)}, not {shown(name)}")
    return kinds[name]()
