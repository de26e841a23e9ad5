"""Which files of the engine a command calls, and which of their changes make its figures older."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from measured.arithmetic import Engine
from measured.measure import measure
from measured.pages import tables_in
from tests.tools.measured.test_measure import ran, root, run

__all__ = ["root"]

TOOLS = Path(__file__).parents[3] / "tools"

CODE = '''
"""A file."""
from functools import cache
NUMBER = 2
def doubled(x):
    """Double."""
    return NUMBER * x
class Kind:
    size = 3
    def __init__(self):
        self.by = lambda x: x
    @property
    def half(self):
        return self.size / 2
    def several(self):
        yield from (self.by(x) for x in range(3))
OUTSIDE = lambda x: x + 1
'''


def called(folder: Path, script: str) -> list[str] | None:
    """What is told of a script, beside a package of three such files."""
    for name in ("a", "b", "c"):
        path = folder / "mipin_ref" / "solve" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CODE)
    for package in ("mipin_ref", "mipin_ref/solve"):
        (folder / package / "__init__.py").touch()
    (folder / "script.py").write_text(script)
    paths = {"PYTHONPATH": f"{folder}:{TOOLS}", "PATH": ""}
    command = [sys.executable, "-m", "measured.traced", "told.json", "script.py", "word"]
    subprocess.run(command, cwd=folder, env=paths, check=True)
    told: list[str] | None = json.loads((folder / "told.json").read_text())
    # Modules that say what is called are not for others.
    assert told is None or not list(folder.rglob("mipin_ref/**/*.pyc"))
    return told


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.NUMBER, a.Kind.size, a.Kind.half", []),
        ("assert a.doubled(2) == 4 and a.doubled.__doc__ == 'Double.'", ["solve/a.py"]),
        ("a.Kind(); b.OUTSIDE(1)", ["solve/a.py", "solve/b.py"]),
        ("assert a.OUTSIDE(1) == 2", ["solve/a.py"]),
        ("assert list(c.Kind().several()) == [0, 1, 2]", ["solve/c.py"]),
        ("threading.Thread(target=b.doubled, args=(1,)).start()", ["solve/b.py"]),
        ("assert sys.argv == ['script.py', 'word'] and __name__ == '__main__'", []),
        ("subprocess.run([sys.executable, '-c', ''])", None),
        ("a.doubled(1); os.system(':')", None),
        ("os._exit(0) if os.fork() == 0 else os.wait()", None),
        ("multiprocessing.get_context('spawn').Process(target=print).start()", None),
    ],
)
def test_files_of_which_a_function_is_called(line: str, expected: list[str] | None, tmp_path: Path) -> None:
    imports = "import multiprocessing, os, subprocess, sys, threading\nfrom mipin_ref.solve import a, b, c\n"
    assert called(tmp_path, f"{imports}if __name__ == '__main__':\n    {line}\n") == expected


def test_the_digest_of_what_is_called(tmp_path: Path) -> None:
    """Of a file that is not called everything counts but the bodies of functions."""
    called(tmp_path, "")
    path = tmp_path / "mipin_ref" / "solve" / "b.py"

    def digests(old: str, new: str) -> list[str]:
        path.write_text(CODE.replace(old, new))
        engine = Engine(tmp_path)
        return [engine.digest(), engine.digest("solve/a.py"), engine.digest("solve/a.py solve/b.py")]

    as_is = digests("", "")
    assert len(set(as_is)) == 2 + 1
    assert digests('"""Double."""', '"""Twice."""') == as_is
    for old, new, same in (
        ("NUMBER * x", "x + x", [False, True, False]),
        ("size / 2", "size / 3", [False, True, False]),
        ("NUMBER = 2", "NUMBER = 3", [False, False, False]),
        ("size = 3", "size = 4", [False, False, False]),
        ("doubled(x)", "doubled(x, y=1)", [False, False, False]),
        ("x + 1", "x + 2", [False, False, False]),
        ("@property", "@cache", [False, False, False]),
    ):
        assert [a == b for a, b in zip(digests(old, new), as_is, strict=True)] == same, new


def test_a_change_of_what_a_command_never_calls_makes_nothing_older(root: Path, tmp_path: Path) -> None:
    other = root / "mipin_ref" / "solve" / "ridge.py"
    other.write_text("LAMBDA = 1\ndef solved():\n    return LAMBDA\n")
    work, data = tmp_path / "work", [root / "data.txt"]
    assert measure(root, ["a", "c"], work=work, data=data) == []
    assert {one.called for name in "ac" for one in tables_in(root)[name].runs} == {"layers/dense.py"}
    ran(work)
    other.write_text("LAMBDA = 1\ndef solved():\n    return 2 * LAMBDA\n")
    assert measure(root, ["a", "c"], work=work, data=data) == []
    assert ran(work) == []
    other.write_text("LAMBDA = 3\ndef solved():\n    return 2 * LAMBDA\n")
    assert measure(root, ["a", "c"], work=work, data=data) == []
    assert ran(work) == ["one", "two data", "three"]
    # What lies in these folders may have been made by what is not called any more.
    assert {one.called for name in "ac" for one in tables_in(root)[name].runs} == {None}


def test_what_one_run_leaves_counts_for_the_next(root: Path, tmp_path: Path) -> None:
    path = root / "tools/measured/tables/c.json"
    content = {"machine": None, "columns": {"n": "{n}"}, "runs": [run("one"), run("two", "uncalled"), run("fail")]}
    path.write_text(json.dumps({**content, "runs": [*content["runs"], run("four")]}))  # type: ignore[misc]
    measure(root, ["c"], work=tmp_path / "work", data=[])
    assert [one.called for one in tables_in(root)["c"].runs] == ["layers/dense.py", "layers/dense.py", None, None]


def test_figures_of_time_are_not_traced(root: Path, tmp_path: Path) -> None:
    path = root / "tools/measured/tables/c.json"
    path.write_text(json.dumps({"machine": "two cores", "columns": {"n": "{n}"}, "runs": [run("one")]}))
    assert measure(root, ["c"], work=tmp_path / "work", data=[]) == []
    assert tables_in(root)["c"].runs[0].called is None
    assert not (tmp_path / "work" / "c" / "called.json").exists()
