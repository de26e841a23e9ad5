"""Loading where memory and time are measured and bounded: in this process, or in one of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS, MEGABYTES = 20, 2000
"""What a refusal may take."""

ADDRESSES = 8 << 30
"""Bytes of address space: libraries map much that they never touch. What is touched is measured."""

PROGRAM = """
import sys, time, mipin_ref as mr
start = time.process_time()
try:
    net = mr.load(sys.argv[1])
    message = f"loaded {len(net.layers)} layers"
except mr.MipinError as error:
    message = f"{type(error).__name__}: {error}"
print(time.process_time() - start)
print(message)
"""


@dataclass(frozen=True)
class Outcome:
    """seconds: of the processor, for the load alone; megabytes: the peak of the whole process; message: the error, or
    "loaded ...".
    """

    seconds: float
    megabytes: float
    message: str


def load_limited(path: Path) -> Outcome:
    """Load a file, and assert that it took no more than a refusal may, and ended in a MipinError or a network."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES)),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        deadline = time.monotonic() + 6 * SECONDS
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                process.kill()
                raise AssertionError(f"no end after {6 * SECONDS} seconds")
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, f"exit {process.returncode}: {err[-2000:]}"
    seconds, message = out.split("\n", 1)
    found = Outcome(float(seconds), usage.ru_maxrss / 1024, message.strip())
    assert found.megabytes < MEGABYTES, found
    assert found.seconds < SECONDS, found
    return found


@contextmanager
def in_little_memory(megabytes: int = 200) -> Iterator[None]:
    """Asserts that neither Python and NumPy nor the process as a whole take more than so much on top.

    The process's peak says nothing where an earlier test has had a higher one; tracemalloc starts anew.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        yield
        allocated = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    assert max(allocated, grown) < megabytes, f"{allocated:.0f} MB allocated, the process grew by {grown:.0f} MB"
