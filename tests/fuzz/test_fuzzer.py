"""The fuzzer finds what is planted, and the same input from the same seed."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mipin_ref.errors import CorruptFile, InvalidData
from tests.fuzz.parts import Kind, fuzz, kind, mutate, worker

FAULTS = 10
"""Inputs of a batch of planted faults."""


class Planted(Kind):
    """Input number i does what the i-th line below says."""

    name = "planted"
    memory = 64 << 20

    def make(self, random: Random) -> dict[str, bytes]:
        return {"x": random.randbytes(8)}

    def ask(self, folder: Path) -> None:
        number = worker_index(folder)
        if number == 1:
            raise CorruptFile("refused")
        if number == 2:
            raise KeyError("no MipinError")
        if number == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 4:
            os._exit(7)
        if number == 5:
            while True:
                pass
        if number == 6:
            bytearray(128 << 20)
        if number == 7:
            bytearray(1 << 40)
        if number == 8:
            raise InvalidData("\ud800")


def worker_index(folder: Path) -> int:
    """Which of the inputs from seed 3 lies in the folder."""
    content = (folder / "x").read_bytes()
    return [Random(f"3/planted/{i}").randbytes(8) for i in range(FAULTS)].index(content)


@pytest.mark.slow
def test_planted_faults_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "CPU_LIMIT", 4)
    batch = worker.Batch(Planted(), 3, 0, FAULTS, tmp_path / "batch")
    (done,) = worker.run(iter([batch]), 1)
    assert [(fault.index, fault.error) for fault in done.faults] == [
        (2, "KeyError"),
        (3, "SIGSEGV"),
        (4, "exit code 7"),
        (5, "more than 4 s"),
        (6, "more than 64 MiB"),
        (7, "MemoryError"),
    ]
    # A message that is no text would be a fault: MipinError escapes it.
    assert (done.accepted, done.refused) == (3, 2)
    assert not list(tmp_path.iterdir())


def test_memory_is_seen_where_the_process_held_freed_memory_before(tmp_path: Path) -> None:
    """As after tests with large arrays: 240 MiB in blocks below the size that malloc maps, freed under one in use."""

    class Large(Planted):
        def ask(self, folder: Path) -> None:
            bytearray(128 << 20)

    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
    library.free(library.malloc(31 << 20))  # From now on 31 MiB are mapped at the least.
    blocks = [library.malloc(20 << 20) for _ in range(12)]
    in_use = library.malloc(1 << 20)
    try:
        for block in blocks:
            ctypes.memset(block, 1, 20 << 20)
            library.free(block)
        (done,) = worker.run(iter([worker.Batch(Large(), 3, 0, 1, tmp_path / "batch")]), 1)
    finally:
        library.free(in_use)
        library.malloc_trim(0)
    assert [fault.error for fault in done.faults] == ["more than 64 MiB"]


def test_a_wait_without_end_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting(Planted):
        def ask(self, folder: Path) -> None:
            time.sleep(60)

    monkeypatch.setattr(worker, "WALL_LIMIT", 3)
    (done,) = worker.run(iter([worker.Batch(Waiting(), 3, 0, 1, tmp_path / "batch")]), 1)
    assert [fault.error for fault in done.faults] == ["more than 3 s"]


@pytest.mark.parametrize("name", [name for name in fuzz.KINDS if name not in ("model", "checkpoint")])
def test_an_input_is_made_again_from_its_number(name: str) -> None:
    made = [worker.input_of(kind(name), 5, index) for index in range(20)]
    # In another order: nothing that one input did reaches the next.
    again = {index: worker.input_of(kind(name), 5, index) for index in reversed(range(20))}
    assert made == [again[index] for index in range(20)]
    assert len({str(files) for files in made}) > 10


def test_another_seed_makes_other_inputs() -> None:
    first, second = ([worker.input_of(kind("npy"), seed, i) for i in range(20)] for seed in (1, 2))
    assert first != second


def test_a_mutated_tree_leaves_its_source_alone() -> None:
    source: Any = {"a": [1, {"b": []}], "c": "x"}
    for number in range(500):
        mutate.tree_mutated(Random(number), source)
    assert source == {"a": [1, {"b": []}], "c": "x"}


def test_a_fault_ends_in_exit_code_1_and_a_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(fuzz.KINDS, "planted", Planted)
    monkeypatch.setattr(worker, "CPU_LIMIT", 4)
    corpus = tmp_path / "corpus"
    assert fuzz.fuzz(["planted"], 3, 60, 3, 1, corpus=corpus) == 1
    assert (corpus / "planted" / "KeyError-3-2" / "input" / "x").read_bytes() == Random("3/planted/2").randbytes(8)
    assert "planted 2 (of 1): KeyError in : 'no MipinError'" in capsys.readouterr().out.replace('"', "")
    assert fuzz.fuzz(["planted"], 3, 60, 2, 1) == 0
