"""Throws mutated files and absurd values at the public functions, and tells what is neither an answer nor a MipinError.

python tools/fuzz.py --seconds 60                      all kinds of input, from the default seed
python tools/fuzz.py --inputs 1000000 --kinds npy,npz  so many inputs of some kinds; --workers N processes at a time
python tools/fuzz.py --corpus FOLDER                   and write the first input of each distinct fault there
python tools/fuzz.py --replay FOLDER ...               ask such inputs again, in this process

Faults are exceptions other than MipinError, signals, hangs, memory, and numbers that contradict the file; distinct ones
differ in kind, exception or the innermost line of the package. An input depends on the seed, its kind and its index
alone. Exit code 1 where there was a fault.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from threadpoolctl import threadpool_limits

import mipin_ref as mr
from fuzzing import data, saved
from fuzzing.kind import Kind, write
from fuzzing.models import Models
from fuzzing.values import Values
from fuzzing.worker import Batch, Fault, input_of, run

ALL: tuple[type[Kind], ...] = (Models, *data.KINDS, *saved.KINDS, Values)
KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in ALL}
SEED = 14
NOTE = "fault.json"


def main() -> int:
    """Parse, fuzz and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument(
        "--inputs", type=int, default=0, help="of all kinds together; without --seconds by default 10000"
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)} (default all)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="index of each kind's first input (default 0)")
    parser.add_argument("--corpus", type=Path, help="write the first input of each distinct fault here")
    parser.add_argument("--replay", type=Path, nargs="+", help="inputs in folders KIND/NAME, asked again")
    options = parser.parse_args()
    with threadpool_limits(1):
        if options.replay:
            return _replay(options.replay)
        names = options.kinds.split(",")
        unknown = set(names) - set(KINDS)
        if unknown:
            parser.error(f"there is no kind {', '.join(sorted(unknown))}; kinds are {', '.join(KINDS)}")
        inputs = options.inputs or (10_000 if options.seconds == float("inf") else 1 << 62)
        return fuzz(names, options.seed, options.seconds, inputs, options.workers, options.first, options.corpus)


def fuzz(
    names: list[str], seed: int, seconds: float, inputs: int, workers: int, first: int = 0, corpus: Path | None = None
) -> int:
    """Run and print the counts and the distinct faults. Returns 1 where there was one, else 0."""
    kinds = [KINDS[name]() for name in names]
    began = time.monotonic()
    asked: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    distinct: dict[tuple[str, str, str], list[Fault]] = {}
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="mipin-fuzz-") as scratch:
        batches = _batches(kinds, seed, first, inputs, began + seconds, Path(scratch))
        for batch in run(batches, workers):
            name = batch.kind.name
            asked[name] += batch.accepted + batch.refused + len(batch.faults)
            accepted[name] += batch.accepted
            counted[name] += len(batch.faults)
            for fault in batch.faults:
                if fault.key not in distinct and corpus is not None:
                    _keep(corpus, batch.kind, seed, fault)
                distinct.setdefault(fault.key, []).append(fault)
    print(f"seed {seed}, {sum(asked.values())} inputs in {time.monotonic() - began:.0f} s")
    for name in names:
        print(f"{name:12}{asked[name]:9} asked {accepted[name]:9} read {counted[name]:7} faults")
    for faults in distinct.values():
        fault = faults[0]
        print(f"{fault.kind} {fault.index} (of {len(faults)}): {fault.error} in {fault.where}: {fault.message}")
    return 1 if distinct else 0


def _batches(kinds: list[Kind], seed: int, first: int, inputs: int, until: float, scratch: Path) -> Iterator[Batch]:
    """A batch of each kind in turn, until time or inputs run out."""
    begin = dict.fromkeys((kind.name for kind in kinds), first)
    number = itertools.count()
    while True:
        for kind in kinds:
            count = min(kind.batch, inputs)
            if count < 1 or time.monotonic() > until:
                return
            inputs -= count
            start = begin[kind.name]
            begin[kind.name] = start + count
            yield Batch(kind, seed, start, start + count, scratch / f"batch{next(number)}")


def _keep(corpus: Path, kind: Kind, seed: int, fault: Fault) -> None:
    folder = corpus / kind.name / f"{fault.error.replace(' ', '-')}-{seed}-{fault.index}"
    write(folder / "input", input_of(kind, seed, fault.index))
    (folder / NOTE).write_text(json.dumps(fault.__dict__, indent=1) + "\n")


def _replay(folders: list[Path]) -> int:
    """Ask each input again; exceptions pass through, to be seen whole."""
    made: dict[str, Kind] = {}
    for folder in folders:
        name = folder.resolve().parent.name
        kind = made.get(name) or made.setdefault(name, KINDS[name]())
        with tempfile.TemporaryDirectory() as scratch:
            files = {
                p.relative_to(folder / "input").as_posix(): p.read_bytes()
                for p in (folder / "input").rglob("*")
                if p.is_file()
            }
            write(Path(scratch), files)
            try:
                kind.ask(Path(scratch))
                print(f"{folder}: read")
            except mr.MipinError as error:
                print(f"{folder}: {type(error).__name__}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
