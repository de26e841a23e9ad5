"""Golden values on other packages and kernels: what is pinned and varied, and what a run tells; none is installed."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import make_golden
from golden import elsewhere


def test_the_oldest_packages_are_the_lower_bounds(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    bounds = ["numpy>=2.0", "scipy>=1.13", "onnx>=1.21", "onnxruntime>=1.20", "rich>=13.7"]
    path.write_text(f"[project]\ndependencies = {bounds}")
    pins = elsewhere.oldest(path)
    assert pins == ["numpy==2.0.*", "scipy==1.13.*", "onnx==1.21.*", "onnxruntime==1.20.*"]
    constraints = (elsewhere.ROOT / "tools/oldest.txt").read_text(encoding="utf-8").splitlines()
    assert elsewhere.oldest(elsewhere.ROOT / "pyproject.toml") == [line for line in constraints if line[0] != "#"]


def test_threads_and_kernels_are_varied() -> None:
    assert list(elsewhere.runs(["Haswell"])) == [(1, None), (1, "Haswell"), (2, None), (2, "Haswell")]


@pytest.mark.slow
def test_a_run_tells_versions_and_result() -> None:
    code, (versions, last) = elsewhere.check(Path(sys.executable), 1, "Haswell", ["golden_mlp"])
    assert code == 0
    assert f"numpy {version('numpy')}" in versions
    assert last.startswith("1 cases, 0 of them off; the largest error is ")
    code, (_, last) = elsewhere.check(Path(sys.executable), 1, None, ["other"])
    assert code == 2
    assert "no case other" in last


@pytest.mark.slow
def test_the_table_has_a_row_a_run_and_tells_whether_all_come_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(elsewhere, "environment", lambda folder, pins: Path(sys.executable))
    monkeypatch.setattr(elsewhere, "runs", lambda coretypes: [(1, coretypes[0])])
    assert make_golden.main(["--elsewhere", str(tmp_path), "--coretype", "Haswell", "golden_mlp"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["| oldest", "| newest"]
    assert all(row[2:4] == ["1", "Haswell"] and "0 of them off" in row[4] for row in rows)
    failed = elsewhere.check_elsewhere(tmp_path, ["Haswell"], ["other"])
    assert [(run.code, run.cases) for run in failed] == [(2, 0)] * 2


def test_runs_are_put_together_by_their_packages() -> None:
    def run(packages: str, kernels: str, threads: int, coretype: str | None, last: str) -> elsewhere.Checked:
        return elsewhere.checked((f"{packages}; kernels {kernels}", last), 0, threads, coretype)

    fine, off = (
        f"56 cases, {count} of them off; the largest error is {worst} of its tolerance"
        for count, worst in ((0, "0.21"), (1, "8.3e+04"))
    )
    runs = [run("numpy 2.0", "Haswell", 1, "Haswell", fine), run("numpy 2.0", "Zen", 2, None, off)]
    runs.append(run("numpy 2.4", "Zen", 1, None, fine))
    together = elsewhere.together(runs)
    assert together[0] == {
        "packages": "numpy 2.0",
        "kernels": "Haswell, Zen (default)",
        "threads": "1, 2",
        "off": 1,
        "cases": 56,
        "worst": 8.3e4,
    }
    assert (together[1]["kernels"], together[1]["worst"]) == ("Zen (default)", 0.21)
