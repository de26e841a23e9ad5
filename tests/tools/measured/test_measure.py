"""Measuring tables anew: each command is run, what it tells goes into the table's file, and what failed is told."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import figures
from measured.arithmetic import digest, networks
from measured.cells import FiguresError
from measured.measure import claimed, commit_of, measure
from measured.pages import tables_in
from measured.plan import plan
from tests.tools.measured.tree import committed

TOLD = """
import json, pathlib, sys
from mipin_ref.layers.dense import product
product(1, 1) if "uncalled" not in sys.argv else 0
*words, option, told = sys.argv[1:]
print("printed:", *words)
assert option == "--json"
pathlib.Path("ran.txt").open("a").write(" ".join(words) + "\\n")
if "fail" in words:
    raise SystemExit("nothing to measure")
number = pathlib.Path("data.txt").read_text() if "data" in words else "1"
if "silent" not in words:
    pathlib.Path(told).write_text(json.dumps({"rows": [{"n": int(number), "what": words[0]}], "values": {words[0]: 2}}))
"""


def run(*words: str) -> dict[str, Any]:
    return {"command": f"python tools/tool.py {' '.join(words)}", "commit": "old", "date": "old", "rows": [{"n": 0}]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with an engine, a tool and three tables, of which the second fails."""
    root = tmp_path / "tree"
    (root / "tools/measured/tables").mkdir(parents=True)
    (root / "models_onnx").mkdir()
    for room in ("layers", "solve"):
        (root / "mipin_ref" / room).mkdir(parents=True)
        (root / "mipin_ref" / room / "__init__.py").touch()
    (root / "mipin_ref" / "__init__.py").touch()
    (root / "mipin_ref/layers/dense.py").write_text('"""A layer."""\n\n\ndef product(w, s):\n    return w * s\n')
    (root / "tools/tool.py").write_text(TOLD)
    tables = {"a": [run("one"), run("two", "data")], "b": [run("first"), run("fail")], "c": [run("three")]}
    for name, runs in tables.items():
        content = {"machine": None, "columns": {"n": "{n}"}, "runs": runs}
        (root / f"tools/measured/tables/{name}.json").write_text(json.dumps(content))
    (root / "data.txt").write_text("7")
    return root


def ran(work: Path) -> list[str]:
    """What was run since it was last asked, table by table."""
    lines = []
    for path in sorted(work.glob("*/ran.txt")):
        lines += path.read_text().splitlines()
        path.unlink()
    return lines


def test_every_run_of_every_table_but_those_that_fail(root: Path, tmp_path: Path) -> None:
    told = measure(root, [], work=tmp_path / "work", data=[root / "data.txt"])
    assert [line for line in told if "b" in line.split(":")[0]] == told
    assert "python tools/tool.py fail" in told[0]
    assert "nothing to measure" in told[0]
    a, b, c = tables_in(root).values()
    assert [one.rows for one in a.runs] == [[{"n": 1, "what": "one"}], [{"n": 7, "what": "two"}]]
    assert [one.values for one in a.runs] == [{"one": 2}, {"two": 2}]
    assert {one.commit for one in (*a.runs, *c.runs)} == {"unknown"}  # The tree is no repository.
    assert b.runs[0].rows == [{"n": 1, "what": "first"}]
    assert b.runs[1].rows == [{"n": 0}]
    assert all(len(one.date or "") == 10 and one.arithmetic for one in (*a.runs, *c.runs))
    assert all(one.seconds is not None and 0 <= one.seconds < 20 for one in (*a.runs, *c.runs))
    assert b.runs[1].seconds is None
    assert (tmp_path / "work" / "a" / "printed.txt").read_text() == "printed: two data\n"


def test_what_is_measured_is_not_measured_again_until_the_arithmetic_changes(root: Path, tmp_path: Path) -> None:
    work, data = tmp_path / "work", [root / "data.txt"]
    measure(root, [], work=work, data=data)
    assert ran(work) == ["one", "two data", "first", "fail", "three"]
    measure(root, [], work=work, data=data)
    assert ran(work) == ["fail"]
    measure(root, ["c"], work=work, data=data, again=True)
    assert ran(work) == ["three"]
    (root / "mipin_ref/layers/dense.py").write_text('"""The same layer."""\n\n\ndef product(w, s):\n    return s * w\n')
    measure(root, ["a", "c"], work=work, data=data)
    assert ran(work) == ["one", "two data", "three"]


def test_a_command_that_tells_nothing_is_a_failure(root: Path, tmp_path: Path) -> None:
    path = root / "tools/measured/tables/c.json"
    path.write_text(json.dumps({"machine": None, "columns": {"n": "{n}"}, "runs": [run("one", "silent")]}))
    (told,) = measure(root, ["c"], work=tmp_path / "work", data=[])
    assert "wrote no figures" in told
    path.write_text(json.dumps({"machine": None, "columns": {"m": "{m}"}, "runs": [run("one")]}))
    (told,) = measure(root, ["c"], work=tmp_path / "work", data=[])
    assert "template" in told
    assert tables_in(root)["c"].runs[0].rows == [{"n": 0}]


def test_data_that_are_not_there_and_tables_that_nobody_knows(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (told,) = measure(root, ["a"], work=tmp_path / "work", data=[])
    assert "data.txt" in told
    monkeypatch.setattr(figures, "ROOT", root)
    with pytest.raises(SystemExit):
        figures.main(["measure", "d"])
    assert "no table of figures d" in capsys.readouterr().err
    assert figures.main(["measure", "c", "--work", str(tmp_path / "work")]) == 0
    assert figures.main(["measure", "b", "--work", str(tmp_path / "work")]) == 1
    assert "nothing to measure" in capsys.readouterr().out


def test_an_interruption_keeps_what_was_measured(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupting = "if 'two' in words:\n    os.kill(os.getppid(), 2)\n    time.sleep(9)\n"
    (root / "tools/tool.py").write_text(f"import os, time\n{TOLD}\n{interrupting}")
    monkeypatch.setattr(figures, "ROOT", root)
    command = ["measure", "a", "--work", str(tmp_path / "work"), "--data", str(root / "data.txt")]
    # A process that was started in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert figures.main(command) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "what was measured is kept" in capsys.readouterr().err
    assert [one.rows for one in tables_in(root)["a"].runs] == [[{"n": 1, "what": "one"}], [{"n": 0}]]


def test_the_commit_is_that_of_the_code_that_is_measured(root: Path, tmp_path: Path) -> None:
    commit = committed(root)
    assert measure(root, ["c"], work=tmp_path / "work", data=[]) == []
    assert tables_in(root)["c"].runs[0].commit == commit
    # Its own table has changed, which is no code.
    assert commit_of(root) == commit
    (root / "mipin_ref/layers/dense.py").write_text("def product(w, s):\n    return s * w\n")
    with pytest.raises(FiguresError, match=r"not committed: .*dense\.py"):
        measure(root, ["c"], work=tmp_path / "work", data=[])


def test_words_and_layout_of_the_code_are_no_arithmetic(root: Path) -> None:
    before = digest(root)
    path = root / "mipin_ref/layers/dense.py"
    path.write_text('"""Another word."""\n\n\ndef product(w, s):\n    """Multiply."""\n    return w * s  # as is\n')
    assert digest(root) == before
    (root / "mipin_ref/solve/ridge.py").write_text("LAMBDA = 1e-3\n")
    assert digest(root) != before


def test_networks_are_told_by_every_bit_and_by_their_names(root: Path) -> None:
    path = root / "models_onnx" / "net" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(b"a")
    before = networks(root)
    path.write_bytes(b"b")
    after = networks(root)
    path.parent.rename(path.parent.with_name("other"))
    assert len({before, after, networks(root)}) == 3


def test_the_check_names_tables_of_older_arithmetic_and_lets_them_be(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = "".join(f"<!-- figures: {name} -->\n<!-- end -->\n" for name in "abc")
    (root / "README.md").write_text(f"# A page\n{blocks}", encoding="utf-8")
    monkeypatch.setattr(figures, "ROOT", root)
    measure(root, [], work=tmp_path / "work", data=[root / "data.txt"])
    assert figures.main(["write"]) == 0
    assert figures.main(["--check"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "measured before the last change of what they call:",
        "  not traced when they were measured: b",
    ]
    (root / "mipin_ref/layers/dense.py").write_text("def product(w, s):\n    return s * w\n")
    assert figures.main(["--check"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "  a: layers/dense.py:product",
        "  b: layers/dense.py:product",
        "  c: layers/dense.py:product",
    ]


def test_two_processes_measure_beside_each_other(root: Path, tmp_path: Path) -> None:
    """Each command waits for the other's: they run at the same time, and neither reads what the other one tells."""
    waiting = """
pathlib.Path(f"../{words[0]}.began").touch()
until = time.monotonic() + 15
while not all(pathlib.Path(f"../{name}.began").exists() for name in ("one", "three")):
    assert time.monotonic() < until, "nobody runs beside it"
    time.sleep(0.01)
"""
    (root / "tools/tool.py").write_text(
        TOLD.replace('if "fail"', f'{waiting}\nif "fail"').replace("json,", "json, time,")
    )
    work = tmp_path / "work"
    with ThreadPoolExecutor() as pool:
        first = pool.submit(measure, root, ["a"], work=work, data=[root / "data.txt"])
        second = pool.submit(measure, root, ["c"], work=work, data=[root / "data.txt"])
        assert first.result() == second.result() == []
    tables = tables_in(root)
    assert [one.rows[0]["what"] for name in "ac" for one in tables[name].runs] == ["one", "two", "three"]


def test_a_table_that_another_process_measures_is_left_to_it(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    (work / "a").mkdir(parents=True)
    with claimed(work / "a") as free:
        assert free
        assert measure(root, ["a", "c"], work=work, data=[root / "data.txt"]) == []
    assert "a: another process measures it" in capsys.readouterr().out
    assert ran(work) == ["three"]
    assert measure(root, ["a", "c"], work=work, data=[root / "data.txt"]) == []
    assert ran(work) == ["one", "two data"]


def test_figures_of_code_that_changes_meanwhile_are_not_kept(root: Path, tmp_path: Path) -> None:
    path = root / "mipin_ref/layers/dense.py"
    changing = f"pathlib.Path({str(path)!r}).write_text('def product(w, s):\\n    return s * w\\n')\n"
    (root / "tools/tool.py").write_text(TOLD + changing)
    (told,) = measure(root, ["c"], work=tmp_path / "work", data=[])
    assert "changed while it was measured" in told
    assert tables_in(root)["c"].runs[0].rows == [{"n": 0}]


def test_the_plan_lists_what_would_be_measured_with_the_time_it_took(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / "tools/measured/tables/a.json"
    content = json.loads(path.read_text())
    content["machine"] = "two cores"
    content["runs"][0]["seconds"] = 90.0
    path.write_text(json.dumps(content))
    monkeypatch.setattr(figures, "ROOT", root)
    assert figures.main(["measure", "--plan", "a", "c"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "  90.0 s  a (alone on the machine): python tools/tool.py one",
        "       ?  a (alone on the machine): python tools/tool.py two data",
        "       ?  c: python tools/tool.py three",
        "3 commands: 2 minutes, and 2 that nobody has timed",
    ]
    assert ran(tmp_path / "work") == []
    measure(root, ["c"], work=tmp_path / "work", data=[])
    assert plan(root, ["c"]) == ["0 commands: 0 minutes, and 0 that nobody has timed"]
    assert len(plan(root, ["c"], again=True)) == 2
    assert len(plan(root, [])) == 5
