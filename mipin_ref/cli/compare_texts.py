"""What `mipin compare` shows of texts: their tokens, and the contribution of each by each method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mipin_ref.cli.compared import Compared, Seen
from mipin_ref.layers import HostArray
from mipin_ref.report.compare_page import Row
from mipin_ref.report.texts_page import TextRow


def as_tokens(maps: HostArray) -> Iterable[HostArray]:
    """Keeps maps [n, 1, T] as contributions of tokens [T]."""
    return (one[0] for one in maps)


def text_rows(seen: Seen, compared: Sequence[Compared], rows: Sequence[Row]) -> list[TextRow]:
    """The rows of the page; rows: what it tells of each text, without maps. Places that only fill up are left out."""
    assert seen.tokens is not None
    made = []
    for number, (row, said) in enumerate(zip(rows, seen.tokens.said, strict=True)):
        maps = {one.name: [values[said.drawn] for values in one.maps[number]] for one in compared}
        made.append(TextRow(row.title, said.tokens, said.joints, row.classes, maps, row.label, row.right))
    return made
