"""Panels of methods, kept while the rows of a table are measured: rows that are fitted alike share one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

import mipin_ref as mr
from paper.published import MIPIN


class Panels:
    """rows: row -> method and options of its fit; options: of every panel, but for what is fitted on and how."""

    def __init__(self, net: mr.Network, rows: Mapping[str, tuple[str, Mapping[str, Any]]], **options: Any) -> None:
        self._net, self._rows, self._options = net, rows, options
        self._kept: dict[Hashable, mr.Panel] = {}

    def of(self, row: str, place: Hashable, x: NDArray[Any], classes: Iterable[int], **fit: Any) -> mr.Panel:
        """The panel of a row, MIP-IN's with the inverses of classes fitted.

        place: what x, the samples fitted on, and fit, options beside the row's own, depend on besides the row.
        """
        method, own = self._rows[row]
        key = (row if own else "", place)
        if key not in self._kept:
            how: Any = {**fit, **own}
            self._kept[key] = mr.Panel(self._net, x, fit_options=how, **self._options)
        if method == MIPIN:
            self._kept[key].prepare(classes)
        return self._kept[key]
