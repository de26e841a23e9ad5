"""A table of figures: what a cell says of its row's numbers, what is told below, and what is no table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from measured.cells import FiguresError, cell
from measured.table import Table, read, write

ROW = {"time": 0.167, "long": 1.884, "bytes": 38e6, "many": 3.366e9, "ratio": 11.26, "count": 50000, "none": None}
RUN: dict[str, Any] = {
    "command": "python tools/bench.py gram",
    "commit": "abc1234",
    "date": "2026-11-30",
    "rows": [
        {"name": "a", "box": 0.7168, "low": 0.7, "high": None},
        {"name": "|A·X|", "box": 0.25, "low": 0, "high": 1},
    ],
}
CONTENT: dict[str, Any] = {
    "machine": None,
    "columns": {"method": "{name}", "box": "{box:.3f}", "between": "{low:.2f} to {high:.2f}"},
    "runs": [RUN],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{time:seconds}", "167 ms"),
        ("{long:seconds}", "1.88 s"),
        ("{bytes:size} of {many:size}", "38.0 MB of 3.366 GB"),
        ("{many:GB.1}, {bytes:MB.0}, {time:ms.2}", "3.4 GB, 38 MB, 167.00 ms"),
        ("{time:percent.1}", "16.7 %"),
        ("{ratio:times}", "11.26×"),
        ("{count:comma}", "50,000"),
        ("{ratio:.1f} ± {time:.3f}", "11.3 ± 0.167"),
        ("{ratio:.1%}", "1126.0%"),
        ("{time:.3f} ({none:.3f})", "–"),
        ("{none}", "–"),
        ("always", "always"),
    ],
)
def test_a_cell_is_its_template_filled_with_the_rows_numbers(template: str, expected: str) -> None:
    assert cell(template, ROW) == expected


@pytest.mark.parametrize("template", ["{nobody}", "{time:rods}", "{time", "{0}", "{count:seconds:}", "{time.real}"])
def test_a_template_that_says_nothing_is_an_error(template: str) -> None:
    with pytest.raises(FiguresError, match="template"):
        cell(template, ROW)


def table(tmp_path: Path, **changes: Any) -> Table:
    (tmp_path / "a-table.json").write_text(json.dumps({**CONTENT, **changes}), encoding="utf-8")
    return read(tmp_path / "a-table.json")


def test_rows_and_a_caption_with_commit_and_command(tmp_path: Path) -> None:
    assert table(tmp_path).markdown() == [
        "| method | box | between |",
        "|---|---|---|",
        "| a | 0.717 | – |",
        "| \\|A·X\\| | 0.250 | 0.00 to 1.00 |",
        "",
        "Measured at abc1234 by `python tools/bench.py gram`.",
    ]


def test_rows_of_runs_follow_one_another_each_with_its_commit(tmp_path: Path) -> None:
    other = {**RUN, "command": "python tools/bench.py fit", "rows": [{**RUN["rows"][1], "name": "c"}]}
    later = {**other, "commit": "def5678"}
    assert table(tmp_path, runs=[RUN, other]).markdown()[-3:] == [
        "| c | 0.250 | 0.00 to 1.00 |",
        "",
        "Measured at abc1234 by `python tools/bench.py gram`, `python tools/bench.py fit`.",
    ]
    assert table(tmp_path, runs=[RUN, later], machine="one core").markdown()[-1] == (
        "Measured on one core, at abc1234 by `python tools/bench.py gram`, at def5678 by `python tools/bench.py fit`."
    )


def test_a_run_that_was_never_measured_is_told_as_such(tmp_path: Path) -> None:
    waiting = {"command": "python tools/bench.py fit"}
    assert table(tmp_path, runs=[waiting, RUN]).markdown()[-2:] == [
        "",
        "Measured at abc1234 by `python tools/bench.py gram`; not yet: `python tools/bench.py fit`.",
    ]
    assert table(tmp_path, runs=[waiting]).markdown()[-1] == "Not yet measured: `python tools/bench.py fit`."
    path = tmp_path / "a-table.json"
    write(path, read(path))
    assert json.loads(path.read_text())["runs"] == [waiting]


def test_commands_that_stand_in_cells_are_not_told_again(tmp_path: Path) -> None:
    columns = {"what": "{name}", "command": "`{command}`", "commit": "{commit}"}
    lines = table(tmp_path, columns=columns).markdown()
    assert lines[2] == "| a | `python tools/bench.py gram` | abc1234 |"
    assert lines[-1] == "Measured at abc1234."


def test_facts_take_the_values_of_all_runs(tmp_path: Path) -> None:
    runs = [{**RUN, "values": {"best": 0.7168}}, {**RUN, "values": {"worst": 0.1}}]
    facts = {"best": "{best:.2f}", "span": "{worst:.1f} to {best:.1f}"}
    made = table(tmp_path, runs=runs, facts=facts)
    assert {name: made.fact(name) for name in facts} == {"best": "0.72", "span": "0.1 to 0.7"}
    with pytest.raises(FiguresError, match="no fact"):
        made.fact("mean")


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": None},
        {"columns": {"a": 3}},
        {"machine": ""},
        {"machine": 3},
        {"runs": []},
        {"runs": [{**RUN, "commit": None}]},
        {"runs": [{"command": "", "commit": "abc1234", "date": "2026-11-30"}]},
        {"runs": [{"command": "python tools/bench.py fit", "rows": RUN["rows"]}]},
        {"runs": [{"command": "python tools/bench.py fit", "date": "2026-11-30"}]},
        {"runs": [{**RUN, "command": ""}]},
        {"runs": [{**RUN, "rows": [[1, 2]]}]},
        {"runs": [{**RUN, "rows": [{"a": [1]}]}]},
        {"runs": [{**RUN, "row": []}]},
        {"columns": {}, "facts": {}},
        {"notes": "3"},
    ],
)
def test_what_is_no_table_is_told_with_its_file(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(FiguresError, match="a-table"):
        table(tmp_path, **changes)


@pytest.mark.parametrize("text", ["", "[1]", '{"machine": null', '{"a": NaN}'])
def test_a_file_that_is_not_json_is_told_too(text: str, tmp_path: Path) -> None:
    (tmp_path / "a-table.json").write_text(text, encoding="utf-8")
    with pytest.raises(FiguresError, match="a-table"):
        read(tmp_path / "a-table.json")


def test_a_table_is_written_as_it_was_read_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    made = table(tmp_path, facts={"best": "{best}"})
    write(tmp_path / "a-table.json", made)
    assert read(tmp_path / "a-table.json") == made
    assert [path.name for path in tmp_path.iterdir()] == ["a-table.json"]
    assert "A·X" in (tmp_path / "a-table.json").read_text(encoding="utf-8")
