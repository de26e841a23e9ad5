"""Which functions of the engine a command calls, itself and by the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from measured.traced import read, variables
from tests.tools.measured.code import CODE

TOOLS = Path(__file__).parents[3] / "tools"
LAUNCHED = (
    "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'import mipin_ref.solve.b as b; b.doubled(1)'])"
)
STARTED = "sys.executable, '-c', 'from mipin_ref.solve import b; b.doubled(1)'"


def told(folder: Path, script: str) -> list[str] | None:
    """What is told of a script, beside a package of three files."""
    for name in ("a", "b", "c"):
        path = folder / "mipin_ref" / "solve" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CODE)
    calling = "from mipin_ref.solve.a import doubled\ndef made(x):\n    return x\nMADE = doubled(made(1))\n"
    (folder / "mipin_ref" / "solve" / "e.py").write_text(calling)
    opening = "def opened(path):\n    open(path).close()\n"
    (folder / "mipin_ref" / "solve" / "d.py").write_text(opening)
    for package in ("mipin_ref", "mipin_ref/solve"):
        (folder / package / "__init__.py").touch()
    (folder / "script.py").write_text(script)
    (folder / "models_onnx" / "net").mkdir(parents=True)
    (folder / "models_onnx" / "net" / "model.onnx").touch()
    given = {"PYTHONPATH": f"{folder}{os.pathsep}{TOOLS}", "PATH": os.environ["PATH"]}
    command = [sys.executable, "script.py", "word"]
    subprocess.run(command, cwd=folder, env=variables(folder / "told.txt", given), check=True)
    # Modules that say what is called are not for others.
    assert not list(folder.rglob("mipin_ref/**/*.pyc"))
    called = read(folder / "told.txt")
    return None if called is None else sorted(called)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.NUMBER, a.Kind.size, a.Kind.half", []),
        ("assert a.doubled(2) == 4 and a.doubled.__doc__ == 'Double.'", ["solve/a.py:doubled"]),
        ("a.Kind(); b.OUTSIDE(1)", ["solve/a.py:Kind.__init__", "solve/b.py:"]),
        ("a.Kind().by(1), a.Kind.twice(1)", ["solve/a.py:Kind", "solve/a.py:Kind.__init__"]),
        ("assert a.Kind().half == 1.5", ["solve/a.py:Kind.__init__", "solve/a.py:Kind.half"]),
        ("assert list(c.Kind().several()) == [0, 1, 2]", ["solve/c.py:Kind.__init__", "solve/c.py:Kind.several"]),
        ("from mipin_ref.solve import e", ["~solve/a.py:doubled", "~solve/e.py:made"]),
        ("from mipin_ref.solve import e; e.made(2)", ["solve/e.py:made", "~solve/a.py:doubled", "~solve/e.py:made"]),
        ("with contextlib.suppress(ValueError): a.doubled(-1)", ["solve/a.py:doubled", "solve/a.py:doubled!"]),
        ("threading.Thread(target=b.doubled, args=(1,)).start()", ["solve/b.py:doubled"]),
        ("assert sys.argv == ['script.py', 'word'] and __name__ == '__main__'", []),
        ("d.opened('models_onnx/net/model.onnx')", ["models_onnx:net", "solve/d.py:opened"]),
        ("open('models_onnx/net/model.onnx').close()", []),
    ],
)
def test_functions_that_are_called(line: str, expected: list[str], tmp_path: Path) -> None:
    assert told(tmp_path, script(line)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"subprocess.run([{STARTED}], check=True)", ["solve/b.py:doubled"]),
        (f"subprocess.run(['env', {STARTED}], check=True)", ["solve/b.py:doubled"]),
        ("c.doubled(1); os.system(sys.executable + ' -c \"import mipin_ref.solve.b as b; b.doubled(1)\"')", ["b", "c"]),
        (f"os.posix_spawn(sys.executable, [{STARTED}], os.environ); os.wait()", ["solve/b.py:doubled"]),
        (f"os.execv(sys.executable, [{STARTED}])", ["solve/b.py:doubled"]),
        ("(b.doubled(1), os._exit(0)) if os.fork() == 0 else os.wait()", ["solve/b.py:doubled"]),
        ("started('fork', b.doubled)", ["solve/b.py:doubled"]),
        ("started('spawn', b.doubled)", ["solve/b.py:doubled"]),
        ("started('forkserver', b.doubled)", ["solve/b.py:doubled"]),
        ("subprocess.run(['git', '--version'], env={})", []),
        ("subprocess.run([sys.executable, '-I', '-c', ''])", None),
        ("subprocess.run([sys.executable, '-uE', '-c', ''])", None),
        (f"subprocess.run([sys.executable, '-S', '-c', {LAUNCHED!r}])", ["solve/b.py:doubled"]),
        ("subprocess.run([sys.executable, '-c', '', '-I'])", []),
        ("subprocess.run([sys.executable, '-c', ''], env={'PATH': ''})", None),
        ("os.environ.pop('PYTHONPATH'); subprocess.run([sys.executable, '-c', ''])", None),
        ("os.environ.pop('MIPIN_REF_TOLD'); os.execv(sys.executable, [sys.executable, '-c', ''])", None),
        ("a.doubled(1); os.posix_spawn(sys.executable, ['python', '-c', ''], {}); os.wait()", None),
    ],
)
def test_processes_that_are_started_tell_too(line: str, expected: list[str] | None, tmp_path: Path) -> None:
    expected = expected if expected != ["b", "c"] else ["solve/b.py:doubled", "solve/c.py:doubled"]
    assert told(tmp_path, script(line)) == expected


def test_what_a_process_told_before_it_was_killed_counts(tmp_path: Path) -> None:
    line = f"subprocess.run([{STARTED[:-1]}; import os; os.kill(os.getpid(), 9)'])"
    assert told(tmp_path, script(line)) == ["solve/b.py:doubled"]


def script(line: str) -> str:
    return f"""
import contextlib, multiprocessing, os, subprocess, sys, threading
from mipin_ref.solve import a, b, c, d

def started(how, function):
    process = multiprocessing.get_context(how).Process(target=function, args=(1,))
    process.start()
    process.join()

if __name__ == "__main__":
    {line}
"""
