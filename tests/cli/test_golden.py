"""mipin golden make and verify: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.cli.main import main
from tests.cli.processes import mipin
from tests.golden.arrays import PATHS, candidate, read

CASE = PATHS["golden_mlp"]


def saved(path: Path, name: str = "golden_mlp", **changed: np.ndarray) -> str:
    given = candidate(read(name)) | {key.replace("__", "/"): value for key, value in changed.items()}
    np.savez(path, **given)  # type: ignore[arg-type]
    return str(path)


def test_a_right_candidate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["golden", "verify", str(CASE), saved(tmp_path / "c.npz")]) == 0
    told = capsys.readouterr().out
    assert told == "golden_mlp: all within tolerance, at most 0 of it (forward 7, solve 12, propagate 12, end 3)\n"


def test_a_wrong_candidate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weight = candidate(read("golden_mlp"))["solve/weight/relu1/0"]
    path = saved(tmp_path / "c.npz", solve__weight__relu1__0=-weight)
    assert main(["golden", "verify", str(CASE), path]) == 1
    told = capsys.readouterr().out
    assert told.startswith("golden_mlp: 'solve/weight/relu1/0' (stage solve) is off by ")
    assert told.endswith("likely cause: the sign is wrong\n")
    assert main(["golden", "verify", str(CASE), path, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["first"]["cause"]) == (False, "the sign is wrong")
    assert main(["golden", "verify", str(CASE), path, "--stage", "forward", "--stage", "end"]) == 0


def test_precision(tmp_path: Path) -> None:
    exact = candidate(read("golden_mlp"), "propagate")
    given = {name: a.astype(np.float32).astype(a.dtype) for name, a in exact.items()}
    np.savez(tmp_path / "c.npz", **given)  # type: ignore[arg-type]
    assert main(["golden", "verify", str(CASE), str(tmp_path / "c.npz")]) == 1
    assert main(["golden", "verify", str(CASE), str(tmp_path / "c.npz"), "--dtype", "float32"]) == 0


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.safetensors").write_bytes(b"\xff" * 40)
    for arguments in (
        [str(CASE), str(tmp_path / "c.safetensors")],
        [str(tmp_path), saved(tmp_path / "c.npz")],
        [str(CASE), saved(tmp_path / "d.npz", extra=np.zeros(2))],
        [str(CASE), saved(tmp_path / "e.npz"), "--stage", "none"],
    ):
        assert main(["golden", "verify", *arguments]) == 2
        told = capsys.readouterr()
        assert not told.out
        assert told.err.startswith("mipin: ")
        assert told.err.count("\n") == 1


def test_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options and labels reach the fit."""
    x = np.random.default_rng(0).standard_normal((30, 2, 7, 7)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.arange(30) % 3)
    model = PATHS["golden_target_class"].parent / "model.onnx"
    arguments = [str(model), str(tmp_path / "x.npy"), "--target", "1", "-o", str(tmp_path / "case")]
    options = ["--labels", str(tmp_path / "y.npy"), "--fit-on", "target_class", "--at", "relu1", "--no-input-mask"]
    more = ["--conv-bias", "--global", "--ridge", "0.5", "--limit", "24"]
    assert main(["golden", "make", *arguments, *options, *more]) == 0
    assert "tensors of 24 samples" in capsys.readouterr().out
    case = mr.golden.read_case(tmp_path / "case")
    assert case.manifest["options"] == {
        "target": 1, "ridge": 0.5, "conv_bias": True, "at": "relu1", "input_mask": False, "local": False,
        "fit_on": "target_class", "dtype": "float64",
    }  # fmt: skip
    assert case.manifest["fit_samples"] == 8
    arguments[3] = "7"
    assert main(["golden", "make", *arguments]) == 2


def test_progress_on_a_terminal_and_nothing_when_piped(tmp_path: Path) -> None:
    """A case of a large network takes minutes: each fit that is written out and each perturbed run is a step."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32))
    arguments = ["golden", "make", str(CASE.parent / "model.onnx"), str(tmp_path / "x.npy"), "--target", "1", "-o"]
    piped = mipin(*arguments, str(tmp_path / "piped"))
    assert (piped.returncode, piped.stderr) == (0, "")
    assert "\x1b" not in piped.stdout
    terminal, end = pty.openpty()
    shown = mipin(*arguments, str(tmp_path / "shown"), stderr=end, env={"TERM": "xterm", "COLUMNS": "200"})
    os.close(end)
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(terminal, 1 << 16).decode())
    os.close(terminal)
    assert shown.stdout == piped.stdout.replace("piped", "shown")
    fitted = sum(step["fitted"] for step in mr.golden.read_case(tmp_path / "piped").manifest["steps"])
    for text, total in (("the fit written out", fitted), ("tolerances", 2 * 4 * 4)):
        assert re.search(rf"{text} .*? {total}/{total} ", told)
    assert read_bytes(tmp_path / "piped") == read_bytes(tmp_path / "shown")


def read_bytes(case: Path) -> list[bytes]:
    return [(case / name).read_bytes() for name in ("manifest.json", "arrays.safetensors")]
