"""Golden values on other packages and kernels: what is pinned and varied, and what a run tells; none is installed."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from golden import elsewhere


def test_the_oldest_packages_are_the_lower_bounds(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    bounds = ["numpy>=2.0", "scipy>=1.13", "onnx>=1.21", "onnxruntime>=1.20", "rich>=13.7"]
    path.write_text(f"[project]\ndependencies = {bounds}")
    pins = elsewhere.oldest(path)
    assert pins == ["numpy==2.0.*", "scipy==1.13.*", "onnx==1.21.*", "onnxruntime==1.20.*"]
    assert len(elsewhere.oldest(elsewhere.ROOT / "pyproject.toml")) == 4


def test_threads_and_kernels_are_varied() -> None:
    assert list(elsewhere.runs(["Haswell"])) == [(1, None), (1, "Haswell"), (2, None), (2, "Haswell")]


def test_a_run_tells_versions_and_result() -> None:
    code, (versions, last) = elsewhere.check(Path(sys.executable), 1, "Haswell", ["golden_mlp"])
    assert code == 0
    assert f"numpy {version('numpy')}" in versions
    assert last.startswith("1 cases, 0 of them off; the largest error is ")
    code, (_, last) = elsewhere.check(Path(sys.executable), 1, None, ["other"])
    assert code == 2
    assert "no case other" in last
