"""Arrays of another implementation: from a file or a mapping, refused where they are not what the case asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from mipin_ref.data.numpy_files import members, open_npz, opened_archive
from mipin_ref.errors import InvalidData, shown
from mipin_ref.golden.case import ARRAYS, Case, Tensor, is_case, read_case
from mipin_ref.golden.perturb import DTYPES
from mipin_ref.golden.stages import STAGE_NAMES
from mipin_ref.layers import HostArray
from mipin_ref.reading import path_of, reason, regular_file
from mipin_ref.store import opened

NOUN = "a safetensors file"
READABLE = ("F64", "F32", "F16", "BOOL", "I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64")
"""Dtypes of safetensors that every NumPy has."""
SHOWN = 5
"""Names that a message lists at most."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """names: of its arrays; read: one of them, as it is."""

    names: tuple[str, ...]
    read: Callable[[str], HostArray]


def open_candidate(source: str | Path | Mapping[str, Any]) -> Candidate:
    """A .npz or .safetensors file, arrays by name, or a case: its folder or its file of arrays.

    Raises InvalidData where there is no such file or it is of another kind, CorruptFile where it is damaged.
    """
    if isinstance(source, Mapping):
        arrays = source
        if not all(isinstance(name, str) for name in arrays):
            raise InvalidData("the arrays of a candidate have names that are texts")
        return Candidate(tuple(arrays), lambda name: _array(name, arrays[name]))
    if not isinstance(source, str | os.PathLike):
        raise InvalidData(f"a candidate is a path or arrays by name, not a {type(source).__name__}")
    path = path_of(source)
    if is_case(path) or (path.name == ARRAYS and is_case(path.parent)):
        return _of_case(read_case(path if is_case(path) else path.parent))
    path = regular_file(path)
    if path.suffix == ".npz":
        return _open_npz(path)
    if path.suffix == ".safetensors":
        return _open_safetensors(path)
    raise InvalidData(f"a candidate is a .npz or a .safetensors file, not {str(path)!r}")


def _array(name: str, value: Any) -> HostArray:
    try:
        return np.asarray(value)
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"{shown(name)} of the candidate is no array ({reason(error)})") from error


def _of_case(case: Case) -> Candidate:
    """The golden values of a case, this one or another, under the names that its manifest has for them."""
    tensors = {tensor.name: tensor for tensor in case.tensors}
    return Candidate(tuple(tensors), lambda name: case.golden(tensors[name]))


def _open_npz(path: Path) -> Candidate:
    with opened_archive(path) as archive:
        names = members(archive)
    return Candidate(tuple(names), lambda name: open_npz(path, name, ()))


def _open_safetensors(path: Path) -> Candidate:
    def read(name: str) -> HostArray:
        with opened(path, NOUN) as file:
            kind = file.get_slice(name).get_dtype()
            if kind not in READABLE:
                raise InvalidData(f"{name!r} must be float64 or float32, or integers, not {kind}")
            array: HostArray = file.get_tensor(name)
            return array

    with opened(path, NOUN) as file:
        names = tuple(file.keys())
    return Candidate(names, read)


def chosen(case: Case, candidate: Candidate, stages: Collection[str] | None, dtype: str | None) -> list[Tensor]:
    """The case's tensors to compare, in order: of every stage asked for that the candidate has begun.

    Raises InvalidData for names that the case does not have, stages that are not there, and a stage with tensors
    missing.
    """
    if stages is not None and not isinstance(stages, list | tuple | set | frozenset):
        raise InvalidData(f"stages must be several of {', '.join(STAGE_NAMES)}, not {shown(stages)}")
    for stage in () if stages is None else stages:
        if not isinstance(stage, str) or stage not in STAGE_NAMES:
            raise InvalidData(f"there is no stage {shown(stage)}; stages are {', '.join(STAGE_NAMES)}")
    there = set(candidate.names)
    known = {tensor.name for tensor in case.tensors}
    _refuse_unknown(there - known, known - there)
    begun = {tensor.stage for tensor in case.tensors if tensor.name in there}
    wanted = begun if stages is None else set(stages)
    if not wanted or wanted - begun:
        names = ", ".join(stage for stage in STAGE_NAMES if stage in (wanted - begun or STAGE_NAMES))
        raise InvalidData(f"the candidate has no tensor of stage {names}")
    asked = [tensor for tensor in case.tensors if tensor.stage in wanted]
    needed = [tensor for tensor in asked if tensor.exact or _counts(tensor, dtype)]
    missing = [tensor.name for tensor in needed if tensor.name not in there]
    if missing:
        raise InvalidData(f"the candidate lacks {_listed(missing)}")
    return [tensor for tensor in asked if tensor.name in there]


def _counts(tensor: Tensor, dtype: str | None) -> bool:
    """Whether it must be there: at a precision that is not yet known, only where both compare it."""
    return all(tensor.tolerance[name] is not None for name in (DTYPES if dtype is None else (dtype,)))


def _refuse_unknown(unknown: Collection[str], free: Collection[str]) -> None:
    if not unknown:
        return
    told = []
    for name in sorted(unknown)[:SHOWN]:
        near = get_close_matches(name, sorted(free), n=2, cutoff=0.6)
        told.append(repr(name) + (f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""))
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    raise InvalidData(f"the case has no tensor {', '.join(told)}{more}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def checked(tensor: Tensor, value: HostArray) -> HostArray:
    """The candidate's array of a tensor. Raises InvalidData for a wrong shape, kind of numbers, NaN or Inf."""
    if value.shape != tensor.shape:
        hint = ""
        if sorted(value.shape) == sorted(tensor.shape):
            hint = ": its axes seem to be in another order"
        elif value.size == int(np.prod(tensor.shape)):
            hint = ": its axes seem to be joined or split"
        raise InvalidData(f"{tensor.name!r} has shape {list(value.shape)}, not {list(tensor.shape)}{hint}")
    if tensor.exact:
        if value.dtype.kind not in "iub":
            raise InvalidData(f"{tensor.name!r} holds integers; the candidate's are {value.dtype}")
        return value
    if str(value.dtype.newbyteorder("=")) not in DTYPES:
        raise InvalidData(f"{tensor.name!r} must be float64 or float32, not {value.dtype}")
    finite = np.isfinite(value)
    if not finite.all():
        at = [int(i) for i in np.argwhere(~finite)[0]]
        raise InvalidData(f"{tensor.name!r} holds NaN or Inf, first at {at}")
    return value
