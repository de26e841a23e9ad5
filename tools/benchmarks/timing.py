"""Clocks: contestants in turn, a fixed number of threads, and processes whose peak memory is told."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnxruntime
from threadpoolctl import threadpool_limits

import mipin_ref.graph.forward as forward
from mipin_ref.backend import Backend

TOOLS = Path(__file__).resolve().parent.parent

LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
unit = 1 if sys.platform == "darwin" else 1024
told = {"status": status, "seconds": time.perf_counter() - began, "peak": usage.ru_maxrss * unit}
told["user"], told["system"] = usage.ru_utime, usage.ru_stime
with open(sys.argv[1], "w") as file:
    json.dump(told, file)
"""


@dataclass
class Timed:
    """seconds: of every repeat; value: what the last one returned."""

    seconds: list[float] = field(default_factory=list)
    value: Any = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def interleaved(
    contestants: Mapping[str, Callable[[], Any]],
    repeats: int,
    *,
    warm_up: int = 0,
    clock: Callable[[Any], float] | None = None,
    timer: Callable[[], float] = time.perf_counter,
) -> dict[str, Timed]:
    """Each contestant once a round, so that what else the machine does meets all of them alike.

    warm_up: rounds before those that count; clock: the seconds that a returned value tells itself, else those of
    `timer`, by default wall time.
    """
    runs = {name: Timed() for name in contestants}
    for number in range(-warm_up, repeats):
        for name, contestant in contestants.items():
            began = timer()
            value = contestant()
            seconds = timer() - began if clock is None else clock(value)
            if number >= 0:
                runs[name].seconds.append(seconds)
                runs[name].value = value
    return runs


def finish(backend: Backend) -> None:
    """Wait for what the device still has to do."""
    backend.get(backend.zeros((1,)))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """At most `count` threads for BLAS, OpenMP, torch where it is loaded, and sessions that the engine opens meanwhile.

    Threads started meanwhile, such as those of scipy.fft, run on `count` CPUs where the system can pin them.
    """
    torch: Any = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    with threadpool_limits(limits=count), sessions(count):
        if torch:
            torch.set_num_threads(count)
        if count < len(allowed):
            os.sched_setaffinity(0, sorted(allowed)[:count])
        try:
            yield
        finally:
            if count < len(allowed):
                os.sched_setaffinity(0, allowed)
            if torch:
                torch.set_num_threads(before)


@contextmanager
def sessions(count: int) -> Iterator[None]:
    """The engine's onnxruntime sessions opened meanwhile have `count` threads: `fit` has no such option."""
    opened = forward.session

    def limited(
        model: bytes | str, threads: int | None = None, *others: Any, **named: Any
    ) -> onnxruntime.InferenceSession:
        return opened(model, count, *others, **named)

    forward.session = limited
    try:
        yield
    finally:
        forward.session = opened


def peak_so_far() -> int:
    """Bytes of resident memory of this process at their largest; below `in_child` of this process alone."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclass(frozen=True)
class Process:
    """seconds: wall, interpreter included; peak: bytes of resident memory; value: what `in_child` called for; user,
    system: seconds of the processor.
    """

    seconds: float
    peak: int
    value: Any = None
    user: float = 0.0
    system: float = 0.0


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Process:
    """Run a command to its end. Raises SystemExit where it fails.

    On Linux a process starts with the peak of the one that started it, so a launcher that holds next to nothing comes
    between. environment: variables beside those of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "told.json")
        launch = [sys.executable, "-S", "-c", LAUNCHER, str(told), *command]
        done = subprocess.run(launch, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})}, check=False)
        outcome = json.loads(told.read_text()) if done.returncode == 0 else {"status": 1}
    if outcome["status"]:
        raise SystemExit(f"{' '.join(command)} failed")
    return Process(outcome["seconds"], outcome["peak"], None, outcome["user"], outcome["system"])


def in_child(function: Callable[..., Any], **arguments: Any) -> Process:
    """Call a function of a module below tools/ in a process of its own; arguments and value pass as JSON."""
    path = os.pathsep.join([str(TOOLS), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        value = Path(folder, "value.json")
        name = f"{function.__module__}:{function.__qualname__}"
        command = [sys.executable, "-m", "benchmarks.child", name, json.dumps(arguments), str(value)]
        process = measured(command, {"PYTHONPATH": path})
        return replace(process, value=json.loads(value.read_text()))
