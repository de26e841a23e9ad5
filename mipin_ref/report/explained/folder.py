"""The folder that an explanation is written into, batch by batch: pictures, arrays and a page."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mipin_ref.errors import InvalidData, MipinError
from mipin_ref.files import check_folder, locked, make_folder, temporary_folder, written_whole
from mipin_ref.report.explained.earlier import (
    ARRAYS,
    INDEX,
    MANIFEST,
    NAMES,
    earlier_set,
    mark_of,
    write_manifest,
)
from mipin_ref.report.explained.kinds import make_kind
from mipin_ref.report.explained.names import file_name
from mipin_ref.report.explained.page import PageRows, render
from mipin_ref.report.explained.told import Array, KindName, ShownSample, Told
from mipin_ref.report.heatmap import as_finite
from mipin_ref.report.spool import Spool
from mipin_ref.report.template import RANKS
from mipin_ref.text import one_line

LOCK = ".explained.lock"


class ExplainedFolder:
    """A folder of explanations, used in a `with` block: `add` batches, then `finish`.

    Each sample has a picture of its own, written at once; `index.html` shows the first of them and names the others;
    `attribution.npz` holds the arrays, `names` [N], `class_names` [N, classes] and `header`, a text in JSON;
    `explained.json` says which run the files are of, and whether it is complete.
    The files of an earlier run are replaced as a set when the first batch comes; before, and where none comes, nothing
    is touched. A block that ends with an exception leaves what was added, and pages that say so.

    kind: of all samples; feature_names: [F] of the kind "table", None for their numbers; header: what the header of the
    arrays says besides, plain JSON.
    Raises InvalidData, on entry, where nothing can be written there, or files are in the way that no run wrote.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        told: Told,
        *,
        kind: KindName,
        feature_names: Sequence[str] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self._header = dict(header or {})
        self._told, self._kind_name = told, kind
        self._kind = make_kind(kind, feature_names)
        self._token = secrets.token_hex(16)
        self._rows = PageRows()
        self._files: list[Path] = []
        self._names: list[str] = []
        self._class_names: list[list[str]] = []
        self._texts: dict[str, list[Array]] = {}
        self._stack = ExitStack()
        self._spool: Spool | None = None
        self._next_page = 1
        self._finished = False
        self._marked = self._made = False

    def __enter__(self) -> ExplainedFolder:
        check_folder(self.path, NAMES)
        earlier_set(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._end(error)
        if self._marked and not self._rows.count:
            # Nothing came of it: neither the mark nor a folder made for it is left.
            with suppress(OSError):
                (self.path / MANIFEST).unlink(missing_ok=True)
                if self._made:
                    self.path.rmdir()

    def _end(self, error: BaseException | None) -> None:
        if self._finished or not self._rows.count:
            return
        if error is None:
            self.finish()
            return
        # What stopped the run may keep this from being written too; it is the error that is told.
        with suppress(MipinError):
            why = "was interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {one_line(str(error))}"
            self._write(f"This set is not complete: the run {why}; it ended after {self._counted()}.", False)

    def add(self, samples: Sequence[ShownSample], arrays: Mapping[str, Array]) -> None:
        """Add a batch: write the picture of each sample, and keep the arrays, [n, ...] by name, for `attribution.npz`.

        Raises InvalidData where a sample is not of the folder's kind, an array has not as many samples, or is not like
        those before it, and where something cannot be written.
        """
        for sample in samples:
            self._check(sample)
        for name, part in arrays.items():
            if len(part) != len(samples):
                raise InvalidData(f"array {name!r} holds {len(part)} samples, where {len(samples)} are added")
        if not samples:
            return
        spool = self._begun()
        try:
            spool.append({name: part for name, part in arrays.items() if part.dtype.kind not in "US"})
        except OSError as error:
            raise InvalidData(f"{str(self.path / ARRAYS)!r} cannot be written: {error.strerror or error}") from error
        for name, part in arrays.items():
            if part.dtype.kind in "US":
                # Texts of later batches may be longer than a file of fixed width has room for.
                self._texts.setdefault(name, []).append(part)
        for sample in samples:
            self._add(sample)
        if self._rows.count >= self._next_page:
            self._next_page = 2 * self._rows.count
            self._write_page(f"This set is not complete: the run goes on, or was stopped, after {self._counted()}.")

    def finish(self) -> list[Path]:
        """Write the page and the arrays; return the paths of all files: page, arrays, manifest, pictures.

        Raises InvalidData where nothing was added, or something cannot be written.
        """
        if not self._rows.count:
            raise InvalidData(f"{str(self.path)!r}: there is nothing to show")
        self._write("", True)
        self._finished = True
        return [self.path / INDEX, self.path / ARRAYS, self.path / MANIFEST, *self._files]

    def _check(self, sample: ShownSample) -> None:
        if not 1 <= len(sample.classes) <= len(RANKS):
            raise InvalidData(f"{sample.name}: shows 1 to {len(RANKS)} classes, not {len(sample.classes)}")
        for one in sample.classes:
            as_finite(one.map, f"{sample.name}: the map of class {one.name}")
            if one.map.size == 0:
                raise InvalidData(f"{sample.name}: the map of class {one.name} is empty")
        self._kind.check(sample)

    def _begun(self) -> Spool:
        """The spool; the first call replaces the earlier set."""
        if self._spool is not None:
            return self._spool
        self._made = not self.path.exists()
        make_folder(self.path)
        try:
            self._stack.enter_context(locked(self.path / LOCK))
            self._stack.callback((self.path / LOCK).unlink, missing_ok=True)
        except BlockingIOError as error:
            raise InvalidData(f"{str(self.path)!r}: another run is writing there") from error
        except OSError:
            pass  # a file system without locks
        earlier = earlier_set(self.path)
        self._marked = True
        # First the mark of this run beside those before it: whatever happens now, the next run knows all files.
        write_manifest(self.path, self._token, earlier.tokens, self._facts(False))
        for path in earlier.files:
            if path.name != MANIFEST:
                path.unlink(missing_ok=True)
        write_manifest(self.path, self._token, (), self._facts(False))
        self._spool = Spool(self._stack.enter_context(temporary_folder(self.path / ARRAYS)))
        self._stack.callback(self._spool.close)
        return self._spool

    def _add(self, sample: ShownSample) -> None:
        scale, own = self._kind.scale(sample), sample.asked
        name = file_name(self._rows.count, sample.name, self._kind.suffix)
        marks = {"Software": mark_of(self._token)}
        with written_whole(self.path / name, clear=False) as file:
            file.write(self._kind.file(own, self._told, self._kind.scale(own), marks))
        self._files.append(self.path / name)
        drawn = self._kind.row(sample, scale) if self._rows.room else None
        self._rows.add(sample, name, self._kind.scale_told(scale), drawn)
        self._names.append(sample.name)
        self._class_names.append([one.name for one in own.classes])

    def _write(self, notice: str, complete: bool) -> None:
        self._write_page(notice)
        self._write_arrays(complete)
        write_manifest(self.path, self._token, (), self._facts(complete))

    def _write_page(self, notice: str) -> None:
        page = render(
            self._told,
            self._rows,
            kind=self._kind_name,
            noun=self._kind.noun,
            legend=self._kind.legend,
            mark=mark_of(self._token),
            notice=notice,
        )
        with written_whole(self.path / INDEX) as file:
            file.write(page.encode())

    def _write_arrays(self, complete: bool) -> None:
        most = max(map(len, self._class_names))
        named = [[*names, *[""] * (most - len(names))] for names in self._class_names]
        others: dict[str, Any] = {"names": np.array(self._names), "class_names": np.array(named)}
        others |= {name: np.concatenate(parts) for name, parts in self._texts.items()}
        header = {
            **self._header,
            **self._facts(complete),
            "lines": list(self._told.lines),
            "facts": [*map(list, self._told.facts)],
        }
        assert self._spool is not None
        mark = mark_of(self._token).encode()
        self._spool.write(self.path / ARRAYS, {"header": json.dumps(header), **others}, comment=mark)

    def _facts(self, complete: bool) -> dict[str, Any]:
        told = {"model": self._told.model, "method": self._told.method, "tensor": self._told.tensor}
        return {**told, "kind": self._kind_name, "complete": complete, "samples": self._rows.count}

    def _counted(self) -> str:
        count = self._rows.count
        return f"{count} {self._kind.noun}{'' if count == 1 else 's'}"
