"""What a test reads of an experiment's blocks, and of its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paper.page import Block, Figure, Table
from paper.results import Part, Results


def rows_of(blocks: Sequence[Block], number: int = 0) -> list[Any]:
    """The rows of a table or figure among the blocks."""
    block = blocks[number]
    assert isinstance(block, Table | Figure)
    return list(block.rows)


def part_in(results: Results, experiment: str, name: str) -> Part:
    """A part that must be there."""
    part = results.read(experiment, name)
    assert part is not None, f"there is no part {name} of {experiment}"
    return part
