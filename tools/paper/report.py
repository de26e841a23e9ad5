"""One self-contained page of all results that are there, and of what is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2

from paper import (
    accuracy,
    causes,
    clutter_boxes,
    faithfulness,
    figure3,
    figure4,
    figure5,
    figure8,
    grid,
    pairs,
    pairs_apc,
    pairs_mosaics,
    pairs_study,
    parts,
    sanity,
    sensitivity,
    study,
    table1,
    table2,
)
from paper.page import Block, Figure, Table
from paper.published import MIPIN
from paper.results import Results
from training.files import write_whole

EXPERIMENTS: tuple[ModuleType, ...] = (
    table1,
    causes,
    figure3,
    figure4,
    figure5,
    accuracy,
    clutter_boxes,
    study,
    table2,
    figure8,
    pairs,
    pairs_mosaics,
    pairs_apc,
    pairs_study,
    sensitivity,
    grid,
    parts,
    sanity,
    faithfulness,
)
"""In the order of the report. Each has NAME, TITLE, PAPER, HELP, add_arguments, run, expected and blocks."""

NUMBER = re.compile(r"[-+–]?[\d.,]*\d?( ?%)?( ± [\d.]+)?( \(.*\))?( / [\d.]+ ?%?)?")


@dataclass(frozen=True)
class Section:
    key: str
    title: str
    paper: str
    blocks: list[dict[str, Any]]
    missing: list[str]
    expected: int


def sections(results: Results) -> list[Section]:
    """Fill a section for every experiment, with results or without. Raises ValueError for a damaged file."""
    filled = []
    for experiment in EXPERIMENTS:
        parts = experiment.expected()
        missing = [part for part in parts if results.read(experiment.NAME, part) is None]
        blocks = [_told(block) for block in experiment.blocks(results)]
        filled.append(Section(experiment.NAME, experiment.TITLE, experiment.PAPER, blocks, missing, len(parts)))
    return filled


def _told(block: Block) -> dict[str, Any]:
    if isinstance(block, Table):
        columns = range(len(block.head))
        numbers = [all(NUMBER.fullmatch(row[i]) for row in block.rows if i < len(row)) for i in columns]
        # MIP-IN's rows stand out among others.
        mixed = not all(row[0].startswith(MIPIN) for row in block.rows)
        return {"kind": "table", "of": block, "numbers": numbers, "mixed": mixed}
    return {"kind": "figure" if isinstance(block, Figure) else "text", "of": block}


def page(results: Results) -> str:
    """The page as HTML; nothing in it is fetched."""
    template = Path(__file__).with_name("report.html.j2").read_text()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html: str = environment.from_string(template).render(sections=sections(results))
    return html


def write(results: Results, out: Path) -> list[str]:
    """The page in a file, whole or not at all; what is missing, a line an experiment."""
    write_whole(out, page(results).encode())
    lacking = [one for one in sections(results) if one.missing]
    return [f"{one.key}: {len(one.missing)} of {one.expected} parts missing" for one in lacking]
