"""Figures that somebody typed on a page are found; what a definition or a user chooses is not."""

from __future__ import annotations

from pathlib import Path

import pytest

import figures
from measured import typed as of
from measured.typed import typed
from tests.tools.measured.test_pages import PAGE, tree


def numbers(text: str) -> list[str]:
    return [number for _, number in typed(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It correlates to .999, or 0.98.", [".999", "0.98"]),
        ("It is off by 2e-06 of the largest.", ["2e-06"]),
        ("It takes 41 s, of which 3 ms in a call and 12 forwards.", ["41 s", "3 ms", "12 forwards"]),
        ("A file of 350 MB, 2GB, 1,000 kB.", ["350 MB", "2GB", "1,000 kB"]),
        ("96 % are right, 4% not.", ["96 %", "4%"]),
        ("It is 15× as fast, or 2 times.", ["15×", "2 times"]),
        (
            "It takes three minutes, or a quarter of a minute; a minute of it, in seconds.",
            ["three minutes", "quarter of a minute"],
        ),
        ("| a | 0.717 ± 0.012 |", ["0.717", "0.012"]),
        ("An image of 28×28 in batches of 64, 3×3 kernels, 1,000 classes, MobileNetV3, opset 13 to 23.", []),
        ("numpy 2.0.2, Python 3.11, onnxruntime 1.20.1 to 1.28.0", []),
        ("with 95 % intervals, the interval of 95 %. Intervals of 95 % are", []),
        ("`ridge=10.0` by `python tools/bench.py fit --ridge 0.5`, [there](page-2.0.md)", []),
        ("```text\n0.5\n```\n", []),
    ],
)
def test_what_counts_as_a_figure(text: str, expected: list[str]) -> None:
    assert numbers(text) == expected


def test_figures_that_tables_write_are_not_typed() -> None:
    assert numbers(PAGE) == []


@pytest.mark.parametrize("line", range(PAGE.count("\n") + 1))
def test_a_typed_figure_is_found_on_every_line_that_no_table_writes(line: int) -> None:
    lines = PAGE.split("\n")
    inside = lines.index("<!-- figures: a-table -->") < line <= lines.index("<!-- end -->")
    lines.insert(line, "The best is 0.72, as said.")
    assert typed("\n".join(lines)) == ([] if inside else [(line + 1, "0.72")])


def test_words_are_allowed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of, "ALLOWED", ("within 1e-3 of the largest",))
    assert typed("It is within 1e-3 of\nthe largest. It is within 1e-3 of nothing.") == [(2, "1e-3")]


def test_the_check_fails_on_a_typed_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "ROOT", tree(tmp_path))
    assert figures.main(["--check"]) == 0
    (tmp_path / "README.md").write_text(PAGE + "The worst is 0.12.\n", encoding="utf-8")
    assert figures.main(["--check"]) == 1
    assert "README.md:10: 0.12 is typed" in capsys.readouterr().out
