"""Workers: processes that ask a batch of inputs each, under limits, watched from outside."""

from __future__ import annotations

import ctypes
import gc
import json
import mmap
import os
import resource
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import mipin_ref as mr
from fuzzing.kind import Files, Kind, write

CPU_LIMIT = 10.0
"""Seconds of an input that are computed."""
WALL_LIMIT = 120.0
"""Seconds of an input altogether: many more, for a machine may have much else to do."""
ADDRESS_LIMIT = 3 << 30
"""Bytes of addresses that a worker may ask for beyond what it began with."""
PACKAGE = str(Path(mr.__file__).parent)


@dataclass(frozen=True)
class Fault:
    """kind, index: of the input; error: exception, signal, or limit; where: the innermost line of the package."""

    kind: str
    index: int
    error: str
    where: str
    message: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.error, self.where


def input_of(kind: Kind, seed: int, index: int) -> Files:
    """The files of an input: they depend on these three alone, and on what the kind's seeds are."""
    return kind.make(Random(f"{seed}/{kind.name}/{index}"))


class _Shared(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_int64),
        ("accepted", ctypes.c_int64),
        ("refused", ctypes.c_int64),
        ("began", ctypes.c_double),
    )


@dataclass
class Batch:
    """Inputs [first, last) of a kind, asked by one process after another until all are."""

    kind: Kind
    seed: int
    first: int
    last: int
    folder: Path
    faults: list[Fault] = field(default_factory=list)
    accepted: int = 0
    refused: int = 0
    _process: int = 0

    def start(self) -> None:
        """Fork a process for the inputs that are left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._shared = _Shared.from_buffer(self._memory)
        self._shared.index, self._shared.began = self.first, time.monotonic()
        self._log = self.folder.with_suffix(".log")
        self._log.write_text("")
        self._cpu_at = (-1, 0.0)
        _give_back()
        self._process = os.fork()
        if not self._process:
            try:
                self._work()
            finally:
                os._exit(3)

    def poll(self) -> bool:
        """Whether all inputs are asked. A process that died, or was killed for its time, is followed by another."""
        number, status = os.waitpid(self._process, os.WNOHANG)
        if not number:
            late = self._late()
            if late is None:
                return False
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
            died = late
        elif os.WIFSIGNALED(status):
            died = signal.Signals(os.WTERMSIG(status)).name
        else:
            died = "" if os.WEXITSTATUS(status) in (0, 4) else f"exit code {os.WEXITSTATUS(status)}"
        self.faults += [Fault(**json.loads(line)) for line in self._log.read_text().splitlines()]
        self.accepted += self._shared.accepted
        self.refused += self._shared.refused
        self.first = self._shared.index
        if died:
            self.faults.append(Fault(self.kind.name, self.first, died, "", ""))
            self.first += 1
        if self.first < self.last:
            self.start()
            return False
        shutil.rmtree(self.folder, ignore_errors=True)
        self._log.unlink()
        return True

    def _late(self) -> str | None:
        index, now = int(self._shared.index), time.monotonic()
        spent = _cpu_seconds(self._process)
        if self._cpu_at[0] != index:
            self._cpu_at = (index, spent)
        if spent - self._cpu_at[1] > CPU_LIMIT:
            return f"more than {CPU_LIMIT:g} s"
        return f"more than {WALL_LIMIT:g} s" if now - self._shared.began > WALL_LIMIT else None

    def _work(self) -> None:
        _limit()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        warnings.simplefilter("ignore")
        shared = self._shared
        with self._log.open("a") as log:
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            for index in range(self.first, self.last):
                shared.index, shared.began = index, time.monotonic()
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.mkdir()
                write(self.folder, input_of(self.kind, self.seed, index))
                fault = self._asked(index)
                grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
                if grown > self.kind.memory:
                    fault = Fault(
                        self.kind.name, index, f"more than {self.kind.memory >> 20} MiB", "", f"{grown >> 20} MiB"
                    )
                if fault is not None:
                    log.write(json.dumps(fault.__dict__) + "\n")
                    log.flush()
                if grown > self.kind.memory:  # its peak would hide that of the next ones
                    shared.index = index + 1
                    os._exit(4)
                if index % 256 == 0:
                    gc.collect()
            shared.index = self.last
        os._exit(0)

    def _asked(self, index: int) -> Fault | None:
        try:
            self.kind.ask(self.folder)
        except mr.MipinError as refusal:
            self._shared.refused += 1
            try:
                str(refusal).encode()
            except UnicodeEncodeError:
                return Fault(
                    self.kind.name, index, "message that is no text", _where(refusal), repr(str(refusal))[:300]
                )
            return None
        except BaseException as error:  # whatever leaves a public function is what is looked for
            return Fault(self.kind.name, index, type(error).__name__, _where(error), _message(error))
        self._shared.accepted += 1
        return None


def _give_back() -> None:
    """Give the system what is freed but still held.

    A worker begins with this process's memory as its peak, and below that what an input takes would not be seen.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, and holds memory back
    if trim is not None:
        trim(0)


def _limit() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ADDRESS_LIMIT, held + ADDRESS_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _cpu_seconds(process: int) -> float:
    try:
        told = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _where(error: BaseException) -> str:
    """The innermost line of the package that an exception came through."""
    innermost = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(PACKAGE):
            innermost = f"{frame.filename[len(PACKAGE) + 1 :]}:{frame.name}"
    return innermost


def _message(error: BaseException) -> str:
    try:
        return ascii(str(error))[:300]
    except Exception:  # a message that cannot be written is one more reason to report its error
        return "(no text)"


def run(batches: Iterator[Batch], workers: int) -> Iterator[Batch]:
    """The batches, so many at a time, as they are done."""
    going: list[Batch] = []
    more = True
    while more or going:
        while more and len(going) < workers:
            batch = next(batches, None)
            if batch is None:
                more = False
                break
            batch.start()
            going.append(batch)
        done = [batch for batch in going if batch.poll()]
        going = [batch for batch in going if batch not in done]
        yield from done
        if not done:
            time.sleep(0.02)
