"""Do golden values come out again elsewhere: on the oldest and newest packages, by threads and by BLAS kernels?

Makes two environments, one with the oldest numpy, scipy, onnx and onnxruntime that pyproject.toml allows and one with
the newest that pip finds, and in each runs `tools/make_golden.py --check` with 1 and 2 threads, and with
OPENBLAS_CORETYPE unset and set. `tools/make_golden.py --elsewhere WORK` does it, and has exit code 1 where one is off.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VARIED = ("numpy", "scipy", "onnx", "onnxruntime")

VERSIONS = """
from importlib.metadata import version
import numpy, scipy.linalg
from threadpoolctl import threadpool_info
kernels = {lib.get("architecture", "?") for lib in threadpool_info() if lib["user_api"] == "blas"}
print(", ".join(f"{name} {version(name)}" for name in %r) + "; kernels " + ", ".join(sorted(kernels)))
"""


LAST = re.compile(r"(\d+) cases, (\d+) of them off; the largest error is (\S+) of its tolerance")


@dataclass(frozen=True)
class Checked:
    """One check. packages: with their versions; kernels: OpenBLAS's; code: its exit code; off: of so many cases; worst:
    the largest error as a part of its tolerance.
    """

    packages: str
    kernels: str
    chosen: bool
    threads: int
    code: int
    cases: int
    off: int
    worst: float


def check_elsewhere(work: Path, coretypes: Sequence[str], names: Sequence[str]) -> list[Checked]:
    """Check the cases, all where none is named, in every environment, and print a table.

    work: the folder of the environments, of which those there are used again; coretypes: values of OPENBLAS_CORETYPE.
    """
    made = []
    for name, pins in (("oldest", oldest(ROOT / "pyproject.toml")), ("newest", [])):
        python = environment(work / name, pins)
        for threads, coretype in runs(coretypes):
            code, told = check(python, threads, coretype, names)
            made.append(checked(told, code, threads, coretype))
            print(f"| {name} | {told[0]} | {threads} | {coretype or 'unset'} | {told[1]} |", flush=True)
    return made


def checked(told: tuple[str, str], code: int, threads: int, coretype: str | None) -> Checked:
    """What a check told, in numbers."""
    packages, _, kernels = told[0].partition("; kernels ")
    found = LAST.fullmatch(told[1])
    cases, off, worst = (int(found[1]), int(found[2]), float(found[3])) if found else (0, 0, float("inf"))
    return Checked(packages, kernels, coretype is None, threads, code, cases, off, worst)


def together(runs: Sequence[Checked]) -> list[dict[str, Any]]:
    """A row an environment: the kernels and threads that were tried, the most cases off, the largest error."""
    rows = []
    for packages in dict.fromkeys(run.packages for run in runs):
        some = [run for run in runs if run.packages == packages]
        kernels = {run.kernels: "" for run in some} | {run.kernels: " (default)" for run in some if run.chosen}
        rows.append(
            {
                "packages": packages,
                "kernels": ", ".join(name + note for name, note in kernels.items()),
                "threads": ", ".join(str(count) for count in sorted({run.threads for run in some})),
                "off": max(run.off for run in some),
                "cases": max(run.cases for run in some),
                "worst": max(run.worst for run in some),
            }
        )
    return rows


def oldest(path: Path) -> list[str]:
    """Requirements that pin the varied packages to their lower bounds."""
    lower = dict(line.split(">=") for line in tomllib.loads(path.read_text("utf-8"))["project"]["dependencies"])
    return [f"{name}=={lower[name]}.*" for name in VARIED]


def environment(folder: Path, pins: Sequence[str]) -> Path:
    """The Python of an environment with this package and the pins; made where it is missing."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", str(ROOT), *pins], check=True)
        (folder / "ready").touch()
    return python


def runs(coretypes: Sequence[str]) -> Iterator[tuple[int, str | None]]:
    """Threads and OPENBLAS_CORETYPE, None where it is unset."""
    for threads in (1, 2):
        for coretype in (None, *coretypes):
            yield threads, coretype


def check(python: Path, threads: int, coretype: str | None, names: Sequence[str]) -> tuple[int, tuple[str, str]]:
    """Exit code of one check, the versions that it ran on, and its last line."""
    variables = {key: value for key, value in os.environ.items() if key not in ("OPENBLAS_CORETYPE", "PYTHONPATH")}
    variables |= {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS")}
    # The checkout's own code and cases, on the environment's packages.
    variables["PYTHONPATH"] = str(ROOT)
    if coretype is not None:
        variables["OPENBLAS_CORETYPE"] = coretype
    versions = subprocess.run(
        [python, "-c", VERSIONS % (VARIED,)], env=variables, capture_output=True, text=True, check=True
    )
    command = [str(python), str(ROOT / "tools" / "make_golden.py"), "--check", *names]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    if done.returncode:
        print("\n".join(lines), file=sys.stderr)
    return done.returncode, (versions.stdout.strip(), lines[-1] if lines else "nothing was printed")
