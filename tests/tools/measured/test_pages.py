"""What the pages take from tables of figures: written from these, and any digit that differs is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import figures
from measured.cells import FiguresError
from measured.pages import differences, filled, pages_in, tables_in, unnamed_commands
from measured.table import Run, Table

TABLES = {
    "a-table": Table(
        "a-table",
        None,
        {"method": "{name}", "box": "{box:.3f}"},
        [Run("python tools/bench.py gram", "abc1234", "2026-11-30", [{"name": "a", "box": 0.7168}], {"best": 0.7168})],
        {"best": "{best:.2f}"},
    )
}
PAGE = "\n".join(
    [
        "# A page",
        "<!-- figures: a-table -->",
        "| method | box |",
        "|---|---|",
        "| a | 0.717 |",
        "",
        "Measured at abc1234 by `python tools/bench.py gram`.",
        "<!-- end -->",
        "The best is <!-- figure: a-table best -->0.72<!-- end -->, as said.",
        "",
    ]
)


def test_a_page_that_is_right_stays_as_it_is() -> None:
    assert filled(PAGE, TABLES) == PAGE


def test_empty_blocks_are_filled() -> None:
    empty = (
        "# A page\n<!-- figures: a-table -->\n<!-- end -->\n"
        "The best is <!-- figure: a-table best --><!-- end -->, as said.\n"
    )
    assert filled(empty, TABLES) == PAGE


@pytest.mark.parametrize("place", [at for at, letter in enumerate(PAGE) if letter.isdigit()])
def test_each_changed_digit_is_found_and_mended(place: int) -> None:
    changed = PAGE[:place] + ("1" if PAGE[place] != "1" else "2") + PAGE[place + 1 :]
    assert filled(changed, TABLES) == PAGE


@pytest.mark.parametrize(
    "text",
    [
        "<!-- figures: nobody -->\n<!-- end -->\n",
        "<!-- figures: a-table -->\n| a |\n",
        "<!-- figures: a-table -->\n<!-- figures: a-table -->\n<!-- end -->\n",
        "<!-- figures: a-table best -->\n<!-- end -->\n",
        "<!-- figures: a-table --> <!-- end -->\n",
        "<!-- figure: a-table -->0.7<!-- end -->\n",
        "<!-- figure: a-table worst -->0.7<!-- end -->\n",
        "<!-- figure: a-table best -->0.7\n",
        "<!-- figure: a-table best -->0.7\n<!-- end -->\n",
        "0.7<!-- end -->\n",
        # Markdown takes a line that begins with a comment out of its paragraph.
        "The best is\n<!-- figure: a-table best -->0.72<!-- end -->.\n",
    ],
)
def test_a_block_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(FiguresError):
        filled(f"# A page\n\n{text}", TABLES)


def test_a_page_of_facts_alone_names_their_commands() -> None:
    fact = "The best is <!-- figure: a-table best -->0.72<!-- end -->"
    assert unnamed_commands(PAGE, TABLES) == []
    assert unnamed_commands(f"{fact}.\n", TABLES) == ["a-table: `python tools/bench.py gram`"]
    assert unnamed_commands(f"{fact} (`python tools/bench.py\ngram`).\n", TABLES) == []


def tree(folder: Path, box: float = 0.7168) -> Path:
    """A tree of one page and one table, which fit where box is 0.717."""
    (folder / "tools/measured/tables").mkdir(parents=True)
    (folder / "README.md").write_text(PAGE, encoding="utf-8")
    run: dict[str, Any] = {"command": "python tools/bench.py gram", "commit": "abc1234", "date": "2026-11-30"}
    run |= {"rows": [{"name": "a", "box": box}], "values": {"best": 0.7168}}
    content = {
        "machine": None,
        "columns": {"method": "{name}", "box": "{box:.3f}"},
        "facts": {"best": "{best:.2f}"},
        "runs": [run],
    }
    (folder / "tools/measured/tables/a-table.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_a_tree_that_fits(tmp_path: Path) -> None:
    assert set(tables_in(tree(tmp_path))) == {"a-table"}
    assert pages_in(tmp_path) == [tmp_path / "README.md"]
    assert differences(tmp_path) == []


def test_a_changed_digit_in_a_table_is_found_until_the_pages_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "ROOT", tree(tmp_path, box=0.7178))
    assert differences(tmp_path) == ["README.md:5: | a | 0.717 |, and by its table | a | 0.718 |"]
    assert figures.main(["--check"]) == 1
    assert "README.md:5" in capsys.readouterr().out
    assert figures.main(["write"]) == 0
    assert figures.main(["--check"]) == 0
    assert "| a | 0.718 |\n" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_changed_digit_on_a_page_is_found(tmp_path: Path) -> None:
    (tree(tmp_path) / "README.md").write_text(PAGE.replace("0.72", "0.82"), encoding="utf-8")
    (found,) = differences(tmp_path)
    assert found.startswith("README.md:9: ")


def test_a_line_that_is_missing_on_a_page_is_found(tmp_path: Path) -> None:
    (tree(tmp_path) / "README.md").write_text(PAGE.replace("| a | 0.717 |\n", ""), encoding="utf-8")
    assert differences(tmp_path)


def test_a_table_that_no_page_shows_is_told(tmp_path: Path) -> None:
    (tree(tmp_path) / "README.md").write_text("# A page\n", encoding="utf-8")
    assert differences(tmp_path) == ["a-table: no page shows this table"]


def test_a_block_that_is_none_is_told_with_its_page(tmp_path: Path) -> None:
    (tree(tmp_path) / "README.md").write_text(PAGE.replace("<!-- figures: a-table", "<!-- figures: b-table"), "utf-8")
    assert differences(tmp_path)[0].startswith("README.md: ")
