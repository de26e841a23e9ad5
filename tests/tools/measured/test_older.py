"""Which changes make the figures of a tree older, and what is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import figures
from measured.carried import carry
from measured.measure import measure
from measured.pages import tables_in
from tests.tools.measured.tree import committed, edit, model, tree


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def older(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is told of old tables."""
    monkeypatch.setattr(figures, "ROOT", root)
    return figures.old()


@pytest.mark.slow
def test_the_check_names_the_functions_that_changed(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "tree", a=["one"], b=["child"], c=["networks net"])
    assert measure(root, [], work=work, data=[]) == []
    dense = root / "mipin_ref/layers/dense.py"
    assert older(root, monkeypatch) == []
    edit(dense, "def unused", "def added():\n    pass\ndef unused")
    (root / "mipin_ref/layers/added.py").write_text("ADDED = 1\n")
    edit(dense, "def product(w, s):", 'def product(w: int, s: int) -> int:\n    """Multiply."""')
    assert older(root, monkeypatch) == []
    edit(dense, "return x", "return -x")
    assert older(root, monkeypatch) == ["  b: layers/dense.py:unused"]
    edit(dense, "* w * s", "* s * w")
    edit(dense, "SCALE = 2", "SCALE = 3")
    assert older(root, monkeypatch) == [
        "  a: layers/dense.py:SCALE, layers/dense.py:product",
        "  b: layers/dense.py:SCALE, layers/dense.py:unused",
        "  c: layers/dense.py:SCALE, layers/dense.py:product",
    ]
    assert measure(root, ["b"], work=tmp_path / "again", data=[]) == []
    assert [line[:4] for line in older(root, monkeypatch)] == ["  a:", "  c:"]


def test_at_most_three_are_named(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "tree", a=["one"])
    dense = root / "mipin_ref/layers/dense.py"
    edit(dense, "SCALE = 2", "\n".join(f"C{n} = 0" for n in range(5)) + "\nSCALE = 2")
    measure(root, [], work=work, data=[])
    dense.write_text(dense.read_text().replace("= 0", "= 1"))
    assert older(root, monkeypatch) == ["  a: layers/dense.py:C0, layers/dense.py:C1, layers/dense.py:C2, and 2 more"]


@pytest.mark.slow
def test_of_reading_counts_what_it_gives(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network counts where it is named, where it is opened all the same, and where one stands for all others."""
    root = tree(tmp_path / "tree", a=["networks unnamed"], b=["one"], c=["networks other"])
    assert measure(root, [], work=work, data=[]) == []
    assert {name: set(table.runs[0].networks or ()) for name, table in tables_in(root).items()} == {
        "a": {"net", "golden_mlp"},
        "b": set(),
        "c": {"other", "golden_mlp"},
    }
    read = root / "mipin_ref/graph/read.py"
    edit(read, "return Layer(", "found = node.op_type\n    return Layer(")
    model(root, "net", producer="another")
    assert older(root, monkeypatch) == []
    model(root, "net", scale=1.0000001)
    assert older(root, monkeypatch) == ["  a: the layers of net"]
    model(root, "net")
    assert older(root, monkeypatch) == []
    edit(read, "    weights: np.ndarray", "    weights: np.ndarray\n    new: int = 0")
    assert older(root, monkeypatch) == []
    edit(read, "Layer(node.op_type", "Layer('Dense'")
    assert older(root, monkeypatch) == [
        "  a: the layers of golden_mlp, the layers of net",
        "  c: the layers of golden_mlp, the layers of other",
    ]


def test_what_cannot_be_told_is_old_with_any_change(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "tree", a=["child alone"])
    assert measure(root, [], work=work, data=[]) == []
    assert older(root, monkeypatch) == []
    edit(root / "mipin_ref/layers/dense.py", "return x", "return -x")
    assert older(root, monkeypatch) == ["  not traced when they were measured: a"]


@pytest.mark.slow
def test_what_measures_time_runs_again_for_what_it_calls(tmp_path: Path, work: Path) -> None:
    """Its figures are of the first run, which tells nothing; a smaller command may stand for the second."""
    smaller = {"command": "python tools/tool.py child many", "traced": "python tools/tool.py one"}
    root = tree(tmp_path / "tree", "two cores", a=["child few"], b=[smaller])
    for _ in range(2):
        assert measure(root, [], work=work, data=[], again=True) == []
    (a,), (b,) = (table.runs for table in tables_in(root).values())
    assert "unused:" in (a.called or {})["layers/dense.py"]
    assert "product:" in (b.called or {})["layers/dense.py"]
    assert "unused:" not in (b.called or {})["layers/dense.py"]
    assert (work / "a" / "ran.txt").read_text() == "child few\n" * 2
    assert (work / "a" / "traced" / "ran.txt").read_text() == "child few\n"
    assert (work / "b" / "traced" / "ran.txt").read_text() == "one\n"
    assert not (work / "a" / "called.txt").exists()
    assert measure(root, ["a"], work=work, data=[], again=True, timed_alone=True) == []
    assert tables_in(root)["a"].runs[0].called is None
    assert (work / "a" / "traced" / "ran.txt").read_text() == "child few\n"


@pytest.mark.slow
def test_what_was_measured_untraced_on_the_present_code_is_traced_too(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "tree", "two cores", a=["one"])
    committed(root)
    assert measure(root, [], work=work, data=[], timed_alone=True) == []
    assert carry(root, [], work=work, data=[]) == ["a: python tools/tool.py one: as measured"]
    edit(root / "mipin_ref/layers/dense.py", "return x", "return -x")
    assert older(root, monkeypatch) == []
    edit(root / "mipin_ref/layers/dense.py", "return SCALE * w * s", "return w * s * SCALE")
    assert older(root, monkeypatch) == ["  a: layers/dense.py:product"]


@pytest.mark.slow
def test_what_was_measured_untraced_is_todays_where_nothing_that_it_calls_has_changed(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "tree", a=["one"], b=["child"], c=["networks net"], d=["child alone"])
    first = committed(root)
    for path in (root / "tools/measured/tables").glob("*.json"):
        content = json.loads(path.read_text())
        content["runs"][0] |= {"commit": first, "date": "then", "rows": [{"n": 5}], "arithmetic": "0123456789abcdef"}
        path.write_text(json.dumps(content))
    edit(root / "mipin_ref/layers/dense.py", "return x", "return -x")
    edit(root / "mipin_ref/graph/read.py", "return Layer(", "found = node.op_type\n    return Layer(")
    model(root, "net", scale=2.0)
    committed(root)
    told = carry(root, [], work=work, data=[])
    assert [line.split(": ")[-1] for line in told] == ["as measured", "old", "old", "nobody knows what it calls"]
    assert older(root, monkeypatch) == [
        "  b: layers/dense.py:unused",
        "  c: the layers of net",
        "  not traced when they were measured: d",
    ]
    assert [table.runs[0].rows for table in tables_in(root).values()] == [[{"n": 5}]] * 4
    assert {table.runs[0].commit for table in tables_in(root).values()} == {first}
    # What told it was later code: that the change is undone proves nothing.
    edit(root / "mipin_ref/layers/dense.py", "return -x", "return x")
    model(root, "net")
    assert older(root, monkeypatch) == ["  not traced when they were measured: b, c, d"]
