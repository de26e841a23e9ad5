"""The pages' blocks of figures, and what stands in them by their tables.

A table stands between `<!-- figures: NAME -->` and `<!-- end -->`, each a line of its own; a single number in a
sentence between `<!-- figure: NAME FACT -->` and `<!-- end -->` in one line, which begins with something else: Markdown
takes a line that begins with a comment out of its paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from pathlib import Path

from measured.cells import FiguresError
from measured.table import Table, read
from training.files import write_whole

TABLES = Path("tools/measured/tables")
FOLDERS = ("mipin_ref", "models_onnx", "tools")
"""Of a tree: where its tables lie, and where its pages do, beside those in its root."""

BLOCK = re.compile(r"^<!-- figures: ([a-z0-9-]+) -->\n(.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL)
FACT = re.compile(r"<!-- figure: ([a-z0-9-]+) (\w+) -->(.*?)<!-- end -->")
FIRST = re.compile(r"^ *<!-- figure: ", re.MULTILINE)
MARK = re.compile(r"<!-- (?:figures?: [^>]*|end) -->")


def tables_in(root: Path) -> dict[str, Table]:
    """All tables of a tree by name. Raises FiguresError."""
    return {path.stem: read(path) for path in sorted((root / TABLES).glob("*.json"))}


def pages_in(root: Path) -> list[Path]:
    """All pages of a tree."""
    return sorted({*root.glob("*.md"), *(path for folder in FOLDERS for path in (root / folder).rglob("*.md"))})


def filled(text: str, tables: Mapping[str, Table]) -> str:
    """A page with all its figures as their tables have them. Raises FiguresError."""

    def table(name: str) -> Table:
        if name not in tables:
            raise FiguresError(f"there is no table of figures {name}")
        return tables[name]

    def block(found: re.Match[str]) -> str:
        return "\n".join([f"<!-- figures: {found[1]} -->", *table(found[1]).markdown(), "<!-- end -->"])

    def fact(found: re.Match[str]) -> str:
        return f"<!-- figure: {found[1]} {found[2]} -->{table(found[1]).fact(found[2])}<!-- end -->"

    # What is left, once whole blocks and facts are taken out, is a mark without its other half.
    left = MARK.search(FACT.sub(blank, BLOCK.sub(blank, text)))
    inside = next((found for pattern in (BLOCK, FACT) for found in pattern.finditer(text) if _opens(found)), None)
    if left is not None or inside is not None:
        raise FiguresError(f"{left[0] if left else inside and inside[0]} is not a whole block of figures")
    if FIRST.search(text):
        raise FiguresError("a line that begins with a figure is no part of its paragraph: put a word before it")
    return FACT.sub(fact, BLOCK.sub(block, text))


def blank(found: re.Match[str]) -> str:
    """As many lines, with nothing in them."""
    return "\n" * found[0].count("\n")


def _opens(found: re.Match[str]) -> bool:
    """Whether another block begins inside this one."""
    return "<!-- figure" in found[found.lastindex or 0]


def used(text: str) -> set[str]:
    """The tables of a page."""
    return {found[1] for pattern in (BLOCK, FACT) for found in pattern.finditer(text)}


def unnamed_commands(text: str, tables: Mapping[str, Table]) -> list[str]:
    """The commands of facts that the page neither names nor has in a caption."""
    shown = {found[1] for found in BLOCK.finditer(text)}
    words = " ".join(text.split())
    return [
        f"{name}: `{run.command}`"
        for name in sorted(used(text) - shown)
        for run in tables[name].runs
        if f"`{run.command}`" not in words
    ]


def differences(root: Path) -> list[str]:
    """What differs between the pages and tables of a tree, a line each; empty where all fit."""
    tables, found, shown = tables_in(root), [], set()
    for path in pages_in(root):
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        shown |= used(text)
        try:
            found += _changed(name, text, filled(text, tables))
            found += [f"{name}: it must name the command of {one}" for one in unnamed_commands(text, tables)]
        except FiguresError as error:
            found.append(f"{name}: {error}")
    return found + [f"{name}: no page shows this table" for name in sorted(set(tables) - shown)]


def _changed(name: str, text: str, right: str) -> list[str]:
    there, wanted = text.splitlines(), right.splitlines()
    told = []
    for kind, a, b, c, d in SequenceMatcher(None, there, wanted, autojunk=False).get_opcodes():
        if kind != "equal":
            told.append(f"{name}:{a + 1}: {' / '.join(there[a:b])}, and by its table {' / '.join(wanted[c:d])}")
    return told


def write_pages(root: Path) -> list[Path]:
    """Write the figures into the pages of a tree; gives those that changed. Raises FiguresError."""
    tables, changed = tables_in(root), []
    for path in pages_in(root):
        text = path.read_text(encoding="utf-8")
        try:
            right = filled(text, tables)
        except FiguresError as error:
            raise FiguresError(f"{path.relative_to(root).as_posix()}: {error}") from error
        if right != text:
            write_whole(path, right.encode("utf-8"))
            changed.append(path)
    return changed
