"""`mipin fit --resume` and `--checkpoint`: killed, called again, and what is left on the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors

from mipin_ref.cli import main
from mipin_ref.inverse.passes.problem import Sums
from tests.cli.test_cli import folder as folder
from tests.inverse.test_bad_input import X

FIT = ("fit", "net.onnx", "x.npy", "--target", "0,2", "-o", "c{target}.mipin")

BESIDE = Path(".c{target}.mipin.checkpoint")


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Ctrl-C when so many systems are solved; returns a list that grows by one with every system."""
    original = Sums.solve
    solved: list[int] = []

    def solve(sums: Sums, ridge: float) -> Any:
        if len(solved) == number:
            raise KeyboardInterrupt
        solved.append(1)
        return original(sums, ridge)

    monkeypatch.setattr(Sums, "solve", solve)
    return solved


def content(path: str | Path) -> tuple[Any, Any]:
    """Header and tensors of a saved inverse, but for the seconds and the seal that is of them too."""
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["mipin-inverse"])
        tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
    del header["seal"], header["beside"]
    return header, tensors


def hidden() -> list[str]:
    return [name for name in os.listdir() if name.startswith(".")]


def test_resume_after_ctrl_c(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(list(FIT)) == 0
    expected = [content(f"c{target}.mipin") for target in (0, 2)]
    for target in (0, 2):
        Path(f"c{target}.mipin").unlink()
    with monkeypatch.context() as patched:
        interrupt_at(patched, 3)
        assert main([*FIT, "--resume"]) == 2
    assert capsys.readouterr().err.endswith("; the same command goes on from the last finished pass\n")
    assert len(list(BESIDE.glob("*/pass-*"))) == 1
    solved = interrupt_at(monkeypatch, -1)
    assert main([*FIT, "--resume"]) == 0
    assert len(solved) == 2
    assert [content(f"c{target}.mipin") for target in (0, 2)] == expected
    assert not hidden()


def test_ctrl_c_tells_of_resume(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_at(monkeypatch, 1)
    assert main(list(FIT)) == 2
    assert "; with --resume a fit keeps each finished pass, and the same command goes on" in capsys.readouterr().err
    assert not hidden()


def test_a_checkpoint_of_ones_own_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for ridge in ("0.1", "0.2"):
        assert main([*FIT, "--checkpoint", "mine/deep", "--ridge", ridge]) == 0
    files = {name: Path(name).read_bytes() for name in ("c0.mipin", "c2.mipin")}
    solved = interrupt_at(monkeypatch, -1)
    assert main([*FIT, "--checkpoint", "mine/deep", "--ridge", "0.2"]) == 0
    assert not solved
    # The seconds too are those of the first time.
    assert {name: Path(name).read_bytes() for name in files} == files
    assert len(list(Path("mine/deep").iterdir())) == 2
    assert not hidden()


def test_only_one_of_both(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*FIT, "--resume", "--checkpoint", "mine"])
    assert stopped.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_resume_with_other_options_is_another_fit_and_sweeps_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        interrupt_at(patched, 3)
        assert main([*FIT, "--resume"]) == 2
    solved = interrupt_at(monkeypatch, -1)
    assert main([*FIT, "--resume", "--ridge", "0.5"]) == 0
    assert len(solved) == 4
    assert not hidden()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "--target", "1", "--ridge", "-1"], "ridge"),
        (["--checkpoint", "x.npy"], "is a file"),
        (["--resume", "--memory", "1MB"], "64 MB"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    folder: Path, arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(os.listdir())
    assert main([*FIT, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mipin: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(os.listdir()) == before


def test_a_damaged_checkpoint_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FIT, "--checkpoint", "mine"]) == 0
    path = next(Path("mine").glob("*/pass-0001-*"))
    path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    assert main([*FIT, "--checkpoint", "mine"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert path.name in error
    assert "delete this file" in error


@pytest.mark.slow
def test_resume_after_kill_dash_nine(folder: Path) -> None:
    np.save("x.npy", np.repeat(X, 2000, axis=0))
    command = [sys.executable, "-m", "mipin_ref", *FIT]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    expected = [content(f"c{target}.mipin") for target in (0, 2)]
    for target in (0, 2):
        Path(f"c{target}.mipin").unlink()
    process = subprocess.Popen([*command, "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not list(BESIDE.glob("*/pass-*")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not [name for name in os.listdir() if name.endswith(".mipin")]
    subprocess.run([*command, "--resume"], check=True, capture_output=True, timeout=300)
    assert [content(f"c{target}.mipin") for target in (0, 2)] == expected
    assert not hidden()
