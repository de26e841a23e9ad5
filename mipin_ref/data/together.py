"""Samples of several inputs, read together: those of the explained one carry the others along."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.beside import by_name, joined, others_of
from mipin_ref.data.numpy_files import members, open_npz, opened_archive
from mipin_ref.data.part import holds_pixels
from mipin_ref.data.preprocessing import Source
from mipin_ref.data.view import Index, Samples
from mipin_ref.errors import InvalidData


class Together:
    """Samples of the explained input, from a view of their own, beside arrays [N, ...] of the others."""

    def __init__(self, explained: Samples, others: Mapping[str, Any]) -> None:
        self._explained, self._others = explained, others

    @property
    def beside(self) -> tuple[str, ...]:
        """The other inputs."""
        return tuple(self._others)

    @property
    def pixels(self) -> bool:
        return holds_pixels(self._explained)

    @property
    def stored_sample(self) -> tuple[int, ...]:
        return tuple(getattr(self._explained, "stored_sample", self._explained.shape[1:]))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._explained.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._explained.dtype

    @property
    def source(self) -> Source:
        return self._explained.source

    def __len__(self) -> int:
        return len(self._explained)

    def __getitem__(self, index: Index, /) -> npt.NDArray[Any]:
        others = {name: np.array(values[index]) for name, values in self._others.items()}
        return joined(self._explained[index], others)


def parts(x: Any, inputs: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """The samples of the explained input, and arrays of the others. x: a mapping by input name, an .npz file, or what
    `joined` made. inputs: of the network, the explained one first.

    Raises InvalidData where x does not hold just these.
    """
    if carried := others_of(x):
        named = by_name({inputs[0]: np.asarray(x), **carried}, inputs)
    elif isinstance(x, str | os.PathLike):
        named = by_name(_archive(Path(x)), inputs)
    else:
        named = by_name(x, inputs)
    others = {}
    for name in inputs[1:]:
        others[name] = np.asarray(named[name])
        if others[name].dtype.kind not in "iuf" or others[name].ndim < 1:
            raise InvalidData(f"x: input {name!r} holds {others[name].dtype}, no numbers a sample")
        if others[name].dtype.kind == "f" and not np.all(np.isfinite(others[name])):
            raise InvalidData(f"the data of input {name!r} hold NaN or Inf")
    return named[inputs[0]], others


def _archive(path: Path) -> dict[str, Any]:
    if path.suffix != ".npz" or not path.is_file():
        raise InvalidData(f"{path}: samples of several inputs are in one .npz file, whose keys are the inputs' names")
    with opened_archive(path) as archive:
        keys = members(archive)
    return {key: open_npz(path, key, ()) for key in keys}
