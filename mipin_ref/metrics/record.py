"""What a metric returns: a record that prints as a table, and is a sequence of its rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy.typing as npt

from mipin_ref.display import OneLine

Row = dict[str, Any]


class Record(OneLine, Sequence[Row]):
    """The rows behind the means, as dictionaries of plain numbers with the same keys: `pandas.DataFrame(record)`."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """One row a sample, class or step, in order."""

    @overload
    def __getitem__(self, at: int, /) -> Row: ...
    @overload
    def __getitem__(self, at: slice, /) -> list[Row]: ...
    def __getitem__(self, at: int | slice, /) -> Row | list[Row]:
        return self.rows()[at]

    def __len__(self) -> int:
        return len(self.rows())

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows())

    def __bool__(self) -> bool:
        """Whether there is a record, whatever it holds."""
        return True


def scored(values: npt.NDArray[Any], name: str = "score") -> list[Row]:
    """Rows of one value a sample [N]."""
    return [{"sample": number, name: value} for number, value in enumerate(values.tolist())]
