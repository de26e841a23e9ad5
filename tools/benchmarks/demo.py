"""What `mipin demo` takes: a whole process, by the clock and of the processor."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.data import add_repeats
from benchmarks.tables import Told
from benchmarks.timing import measured
from measured.units import seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_repeats(parser, 3)


def run(options: argparse.Namespace) -> Told:
    """Medians over rounds, each into a folder of its own and without a cache."""
    spent = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "mipin_ref", "demo", "-o", str(Path(folder) / "demo")]
            spent.append(measured(command, {"XDG_CACHE_HOME": folder}))
    values = {
        key: statistics.median(getattr(one, key) for one in spent) for key in ("seconds", "user", "system", "peak")
    }
    print(f"mipin demo: {seconds(values['seconds'])}, of the processor {seconds(values['user'] + values['system'])}")
    return {"values": values}
