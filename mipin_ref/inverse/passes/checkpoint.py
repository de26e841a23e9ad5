"""Finished passes of a fit on disk, from which the same fit goes on after an interruption.

A checkpoint directory holds a folder for each fit, named by a hash of all that its result depends on; there, one file
for each pass that is solved, a lock, and a note for the reader. What differs in anything has another folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data import Samples, Seen
from mipin_ref.data.calibration import seen_of, seen_tensors
from mipin_ref.errors import CorruptFile, InvalidData, shown
from mipin_ref.files import check_folder, locked, written_whole
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.descent.weights_file import read_weights, weight_tensors
from mipin_ref.inverse.passes.spec import PassSpec
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.inverse.report import TensorReport, timed_rows
from mipin_ref.layers import HostArray
from mipin_ref.progress import Advance
from mipin_ref.reading import path_of
from mipin_ref.store import Kind, packages, read, write

PASS = Kind("mipin-checkpoint", 2, "a finished pass of a fit")

_LOCK, _NOTE, _PASSES, _TEMPORARY = "lock", "fit.json", "pass-*.safetensors", ".*.tmp"

_KEY = re.compile("[0-9a-f]{32}")

_READ_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class Finished:
    """What one pass found for one target.

    weights, report: of the pass's tensors; rows: which samples count, None where labels or options tell; seen: by the
    network in all data, of the fit's first pass.
    """

    weights: Mapping[str, Weights]
    report: Sequence[TensorReport]
    rows: npt.NDArray[np.bool_] | None
    seen: Seen | None = None


class NotKept(InvalidData):
    """What cannot be kept where a checkpoint was asked for; the fit itself has no fault."""


class Checkpoint:
    """The folder of one fit, while its lock is held."""

    def __init__(self, folder: Path, key: str, plan: Plan) -> None:
        self._folder, self._key, self._plan = folder, key, plan
        self._number = {step.tensor: number for number, step in enumerate(plan.fitted)}

    def save(self, spec: PassSpec, finished: Mapping[int, Finished]) -> None:
        """Write what a pass found, whole or not at all. Raises NotKept where the disk refuses."""
        steps = spec.fitted_steps(self._plan)
        tensors: dict[str, HostArray] = {}
        for target, part in finished.items():
            for step in steps:
                tensors |= weight_tensors(f"{target}.{self._number[step.tensor]}", part.weights[step.tensor])
            if part.rows is not None:
                tensors[f"{target}.rows"] = np.packbits(part.rows)
        seen = next((part.seen for part in finished.values()), None)
        tensors |= {} if seen is None else seen_tensors(seen)
        header = self._head(steps, list(finished)) | {
            "seen": None if seen is None else {"axis": seen.axis, "each": seen.each},
            "found": [
                {
                    "samples": None if part.rows is None else len(part.rows),
                    "report": [row.as_row() for row in part.report],
                }
                for part in finished.values()
            ],
        }
        beside = {"seconds": [[row.seconds for row in part.report] for part in finished.values()]}
        try:
            write(self._path(spec), header, tensors, PASS, beside=beside)
        except InvalidData as error:
            raise NotKept(str(error)) from error

    def load(self, spec: PassSpec) -> dict[int, Finished] | None:
        """What `save` wrote of this pass; None where it is not finished.

        Raises CorruptFile where the file is damaged or holds another pass.
        """
        path = self._path(spec)
        if not path.exists():
            return None
        try:
            header, tensors = read(path, PASS)
            finished = self._parsed(path, header, tensors, spec.fitted_steps(self._plan), list(spec.samples))
            if spec.looks and any(part.seen is None for part in finished.values()):
                raise CorruptFile(f"{str(path)!r} is incomplete: it does not tell what the network was shown")
        except (CorruptFile, InvalidData) as error:
            raise CorruptFile(f"{error}; delete this file and its pass is computed again") from error
        return finished

    def _parsed(
        self,
        path: Path,
        header: dict[str, Any],
        tensors: Mapping[str, HostArray],
        steps: Sequence[Step],
        targets: Sequence[int],
    ) -> dict[int, Finished]:
        try:
            if any(header[name] != value for name, value in self._head(steps, targets).items()):
                raise CorruptFile(f"{str(path)!r} holds another pass or was made by another fit")
            if any([row["tensor"] for row in part["report"]] != self._names(steps) for part in header["found"]):
                raise CorruptFile(f"{str(path)!r} reports on other tensors than those of its pass")
            seen = None if header["seen"] is None else seen_of(header["seen"]["axis"], header["seen"]["each"], tensors)
            return {
                target: Finished(
                    {step.tensor: self._weights(path, tensors, target, step) for step in steps},
                    timed_rows(part["report"], seconds),
                    None
                    if part["samples"] is None
                    else np.unpackbits(tensors[f"{target}.rows"], count=part["samples"]).astype(bool),
                    seen,
                )
                for target, part, seconds in zip(targets, header["found"], header["beside"]["seconds"], strict=True)
            }
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CorruptFile(f"{str(path)!r} is incomplete or damaged: {error}") from error

    def _weights(self, path: Path, tensors: Mapping[str, HostArray], target: int, step: Step) -> Weights:
        prefix = f"{target}.{self._number[step.tensor]}"
        return read_weights(path, tensors, prefix, step, column=self._plan.is_column(step))

    def _head(self, steps: Sequence[Step], targets: Sequence[int]) -> dict[str, Any]:
        return {"key": self._key, "tensors": self._names(steps), "targets": list(targets)}

    @staticmethod
    def _names(steps: Sequence[Step]) -> list[str]:
        return [step.tensor for step in steps]

    def _path(self, spec: PassSpec) -> Path:
        return self._folder / f"pass-{spec.wave:04d}-{spec.group:04d}.safetensors"


def checked_directory(checkpoint: Any) -> Path | None:
    """The directory as a path, or None.

    Raises InvalidData where it is no path, NotKept where it is one of a file or nothing can be written there.
    """
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, str | os.PathLike):
        raise InvalidData(f"checkpoint must be the path of a folder or None, not {shown(checkpoint)}")
    path = path_of(checkpoint)
    try:
        if path.exists() and not path.is_dir():
            raise NotKept(f"checkpoint {str(path)!r} is a file; name a folder")
        check_folder(path, ())
    except OSError as error:
        raise NotKept(f"checkpoint {shown(str(path))} cannot be a folder: {error.strerror or error}") from error
    except InvalidData as error:
        raise NotKept(str(error)) from error
    return path


def identity_of(task: FitTask, targets: Sequence[int], advance: Advance) -> dict[str, Any]:
    """All that the result of a fit depends on, to the last bit on one machine, as plain JSON; reads the data once."""
    return {
        "model_sha256": task.net.sha256,
        "output": task.net.output,
        "data": _data_identity(task.data, advance),
        "labels_sha256": None if task.labels is None else hashlib.sha256(task.labels.tobytes()).hexdigest(),
        "targets": list(targets),
        "options": asdict(task.options),
        "backend": task.backend.name,
        "memory": task.memory,
        "batch_size": task.batch_size,
        "packages": packages(),
    }


def _data_identity(data: Samples, advance: Advance) -> dict[str, Any]:
    """Shape, dtype and hash of the samples, which does not depend on how they are cut into batches."""
    each = max(1, prod(data.shape[1:]) * data.dtype.itemsize)
    size, digest = max(1, _READ_BYTES // each), hashlib.sha256()
    for start in range(0, len(data), size):
        rows = np.ascontiguousarray(data[start : start + size])
        digest.update(rows.data)
        advance(len(rows))
    return {"shape": list(data.shape), "dtype": data.dtype.str, "sha256": digest.hexdigest()}


@contextmanager
def opened(directory: Path, identity: Mapping[str, Any], plan: Plan) -> Iterator[Checkpoint]:
    """The checkpoint, below `directory`, of the fit that `identity` tells from all others.

    A folder in which no pass was finished is taken away again. Raises NotKept where another process fits the same into
    it, and where the disk refuses.
    """
    note = {"format": PASS.format, "version": PASS.version, **identity}
    key = hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()[:32]
    folder, made = directory / key, not directory.exists()
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / _LOCK))
        except BlockingIOError as error:
            raise NotKept(
                f"another process is at this very fit in {str(folder)!r}; wait for it or name another checkpoint folder"
            ) from error
        except OSError as error:
            raise NotKept(f"checkpoint {str(directory)!r} cannot be written: {error.strerror or error}") from error
        for left_over in folder.glob(_TEMPORARY):
            left_over.unlink()
        with written_whole(folder / _NOTE) as file:
            file.write(json.dumps(note, indent=1).encode())
        try:
            yield Checkpoint(folder, key, plan)
        finally:
            if not any(folder.glob(_PASSES)):
                _delete(folder)
                if made:
                    _delete_empty(directory)


def discard(directory: Path) -> None:
    """Delete the checkpoints of all fits below `directory` but those that are going on, and then what is empty."""
    for folder in [path for path in directory.glob("*") if path.is_dir() and _KEY.fullmatch(path.name)]:
        with suppress(BlockingIOError), locked(folder / _LOCK):
            _delete(folder)
    _delete_empty(directory)


def _delete(folder: Path) -> None:
    """All that a checkpoint writes, the lock last; its holder calls this."""
    for pattern in (_PASSES, _TEMPORARY, _NOTE, _LOCK):
        for path in folder.glob(pattern):
            path.unlink()
    _delete_empty(folder)


def _delete_empty(folder: Path) -> None:
    # What somebody else has put there stays, and its folder with it.
    with suppress(OSError):
        folder.rmdir()
