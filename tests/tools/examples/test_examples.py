"""The notebooks in text form run cell by cell as they stand, and what their cells end with can be shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages.page import ROOT

FOLDER = ROOT / "tools" / "examples"
NAMES = ["photographs", "quantus_comparison", "tabular"]

CELLS = """
import ast, pathlib, sys
text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
names, shown = {"__name__": "__main__"}, 0
for cell in text.split("# %%"):
    body = ast.parse("" if cell.lstrip().startswith("[markdown]") else cell)
    last = body.body.pop() if body.body and isinstance(body.body[-1], ast.Expr) else None
    exec(compile(body, sys.argv[1], "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), sys.argv[1], "eval"), names)
        if type(value).__module__.startswith("mipin_ref"):
            assert "<table" in value._repr_html_()
        shown += value is not None
print("shown", shown)
"""


def test_every_notebook_is_run() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__") == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_cells_of_words_and_of_code(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    first, *cells = text.split("# %%")
    assert first == ""
    assert cells[0].startswith(" [markdown]\n# # ")
    assert sum(cell.startswith(" [markdown]") for cell in cells) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    """In a folder without photographs, so that it makes its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CELLS, str(FOLDER / f"{name}.py")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "MPLBACKEND": "Agg", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout.split()[-1]) >= 3
